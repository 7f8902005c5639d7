//! Messages by Telegram for administrators.
//!
//! **Never:** the bot's token; a code once it was shown.

use askama::Template;

use super::*;
use crate::web::api::telegram::TelegramView;

#[derive(Template)]
#[template(path = "telegram.html")]
struct TelegramPage {
    shell: Shell,
    it: TelegramView,
    people: Vec<String>,
}

/// `GET /telegram`
pub(in crate::web) async fn telegram(State(state): State<AppState>, Extension(who): Extension<Who>) -> Response {
    let page = async {
        let query = crate::store::PeopleQuery { limit: 500, ..Default::default() };
        let people = state.store().access().people(&query).await?;
        let people = people.into_iter().map(|it| it.name.to_string()).collect();
        Ok(TelegramPage { shell: Shell::new("telegram", &who), it: TelegramView::of(&state).await?, people })
    };
    match page.await {
        Ok(page) => shown(&page),
        Err(error) => error_page(error),
    }
}
