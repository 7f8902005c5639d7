//! Keypads for administrators, and the page that is one.
//!
//! **Never:** what is typed; the script sends it and forgets it.

use askama::Template;
use axum::extract::Request;

use super::*;
use crate::web::api::Id;
use crate::web::api::keypads::{KeypadView, of_link};
use crate::web::peer;

#[derive(Template)]
#[template(path = "keypads.html")]
struct KeypadsPage {
    shell: Shell,
    rows: Vec<KeypadView>,
    doors: Vec<(String, String)>,
}

/// `GET /keypads`
pub(in crate::web) async fn list(State(state): State<AppState>, Extension(who): Extension<Who>) -> Response {
    let mut rows = Vec::new();
    for keypad in state.system().keypads() {
        match KeypadView::of(&state, keypad).await {
            Ok(row) => rows.push(row),
            Err(error) => return error_page(error),
        }
    }
    let doors = state.system().doors().into_iter().map(|door| (door.id.to_string(), door.title)).collect();
    shown(&KeypadsPage { shell: Shell::new("keypads", &who), rows, doors })
}

#[derive(Template)]
#[template(path = "keypad.html")]
struct KeypadPage {
    site: String,
    door: String,
}

/// `GET /keypad/{token}`: the keypad, for whoever has its link.
pub(in crate::web) async fn keypad(State(state): State<AppState>, Id(token): Id, request: Request) -> Response {
    match of_link(&state, token, peer(&request)).await {
        Ok((reader, _)) => {
            let door = state.system().keypads().into_iter().find(|it| it.id == reader).and_then(|it| it.door);
            let doors = state.system().doors();
            let title = doors.into_iter().find(|it| Some(&it.id) == door.as_ref()).map(|it| it.title);
            let site = state.store().access().site().to_string();
            shown(&KeypadPage { site, door: title.unwrap_or_else(|| reader.to_string()) })
        }
        Err(error) => error_page(error),
    }
}
