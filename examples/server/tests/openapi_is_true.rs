//! The served description names exactly the routes there are, with their roles, and the answers fit its schemas.

mod common;

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use common::Server;
use godvision_core::Clock;
use godvision_core::signal::seen::{Region, Rest, RestKind, RestPhase, Tamper, TamperKind};
use godvision_server::store::NewSighting;
use godvision_server::web::route::{Access, routes};
use godvision_vision::face::history::Seen;
use serde_json::Value;

fn document() -> Value {
    serde_json::from_str(godvision_server::web::api::OPENAPI).unwrap()
}

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let found = document.pointer(reference.trim_start_matches('#'));
            found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
        None => schema,
    }
}

/// Checks `value` against the part of JSON Schema that the document uses.
fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let schema = resolve(document, schema);
    if let Some(any) = schema["anyOf"].as_array() {
        let all: Vec<_> = any.iter().map(|one| check(document, one, value, at)).collect();
        return if all.iter().any(Result::is_ok) { Ok(()) } else { Err(format!("{at}: none of {all:?}")) };
    }
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = match &schema["type"] {
        Value::String(kind) => kind == found,
        Value::Array(kinds) => kinds.iter().any(|kind| kind == found),
        _ => return Err(format!("{at}: the schema has no type")),
    };
    if !fits {
        return Err(format!("{at} is a {found}, not {}", schema["type"]));
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        return Err(format!("{at}: {value} is none of {values:?}"));
    }
    if schema["format"] == "date-time"
        && let Some(text) = value.as_str()
        && text.parse::<jiff::Timestamp>().is_err()
    {
        return Err(format!("{at}: {text} is no time"));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(document, &schema["items"], item, &format!("{at}[{index}]"))?;
    }
    if let Some(object) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                return Err(format!("{at} has no {name}"));
            }
        }
        for (name, value) in object {
            let at = format!("{at}.{name}");
            match (schema["properties"].get(name), &schema["additionalProperties"]) {
                (Some(known), _) => check(document, known, value, &at)?,
                (None, Value::Object(_)) => check(document, &schema["additionalProperties"], value, &at)?,
                (None, _) => return Err(format!("{at} is not described")),
            }
        }
    }
    Ok(())
}

#[test]
fn the_checker_can_say_no() {
    let document = document();
    let clip = serde_json::json!({"on": "yes"});
    let switch = serde_json::json!({"$ref": "#/components/schemas/Switch"});
    assert!(check(&document, &switch, &clip, "it").unwrap_err().contains("it.on is a string"));
    assert!(check(&document, &switch, &serde_json::json!({}), "it").unwrap_err().contains("has no on"));
    assert!(check(&document, &switch, &serde_json::json!({"on": true, "x": 1}), "it").is_err());
    assert_eq!(check(&document, &switch, &serde_json::json!({"on": true}), "it"), Ok(()));
}

#[test]
fn it_names_exactly_the_routes_there_are_with_their_roles() {
    let mut described = BTreeSet::new();
    for (path, item) in document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let role = operation["x-role"].as_str().unwrap().to_owned();
            described.insert((method.to_uppercase(), format!("/api/v1{path}"), role));
            let parameters: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .filter_map(|parameter| parameter["name"].as_str())
                .collect();
            let expected: BTreeSet<&str> = path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
            assert_eq!(parameters, expected, "{path}");
        }
    }
    let served: BTreeSet<_> = routes()
        .into_iter()
        .filter(|route| route.path.starts_with("/api/"))
        .map(|route| {
            let role = match route.access {
                Access::Anyone => "anyone",
                Access::AtLeast(role) => role.code(),
            };
            (route.method.to_string(), route.path.to_owned(), role.to_owned())
        })
        .collect();
    assert_eq!(described, served);
}

#[tokio::test]
async fn answers_fit_their_schemas() {
    let server = Server::start().await;
    let document = document();
    let token = server.token("ada").await;
    let open = server
        .request(Method::POST, "/api/v1/doors/house%2Ffront/open")
        .token(&token)
        .json(r#"{"reason": "a parcel"}"#);
    let switch = server.request(Method::PUT, "/api/v1/cameras/yard%2Fcamera/archive").token(&token);
    let watch = server.request(Method::PUT, "/api/v1/cameras/yard%2Fcamera/motion").token(&token);
    let watched = server.get("/api/v1/cameras/yard%2Fcamera/motion", &token).await;
    let login = server.request(Method::POST, "/api/v1/login");
    let credentials = format!(r#"{{"name": "vera", "password": "{}"}}"#, common::PASSWORD);
    let mut answers = vec![
        ("/doors/{id}/open", "post", open.send().await),
        ("/cameras/{id}/archive", "put", switch.json(r#"{"on": false}"#).send().await),
        ("/cameras/{id}/motion", "get", watched),
        (
            "/cameras/{id}/motion",
            "put",
            watch.json(r#"{"sensitivity": "low", "zones": ["!street: 0,0 9,9 0,9"]}"#).send().await,
        ),
        ("/login", "post", login.json(credentials).send().await),
        ("/health", "get", server.request(Method::GET, "/api/v1/health").send().await),
    ];
    let put = |plate: &str| server.request(Method::PUT, &format!("/api/v1/plates/{plate}")).token(&token);
    let import = server.request(Method::POST, "/api/v1/plates/import").token(&token);
    let delete = server.request(Method::DELETE, "/api/v1/plates/b%20ab%201234").token(&token);
    let period = r#"{"owner": "Ada", "standing": "watch", "from": "2026-01-01T00:00:00Z", "to": null}"#;
    answers.extend([
        ("/plates/{id}", "put", put("%D0%B0123%D0%B2%D1%8177").json(period).send().await),
        ("/plates/{id}", "put", put("B-AB1234").json(r#"{"owner": "Bob"}"#).send().await),
        ("/plates/import", "post", import.json("plate,owner\nM001MM99,Mallory\n").send().await),
        ("/plates/{id}", "delete", delete.send().await),
    ]);
    let key = common::known(&server.store, "carl").await;
    let ask = |method, path: &str, body: &str| server.request(method, path).token(&token).json(body.to_owned());
    let rules = "version = 1\n[groups]\nresidents = []\n[[rule]]\nname = \"r\"\npermit = [\"group:residents\"]\ndoors = [\"any\"]\n";
    let text = serde_json::to_string(rules).unwrap();
    let wrong = r#"{"text": "version = 1\nzone = \"Mars\"\n"}"#;
    let question = r#"{"person": "carl", "door": "house/front", "kind": "card"}"#;
    answers.extend([
        ("/people/{id}", "put", ask(Method::PUT, "/api/v1/people/bob", r#"{"groups": ["staff"]}"#).send().await),
        (
            "/people/{id}/keys",
            "post",
            ask(Method::POST, "/api/v1/people/bob/keys", r#"{"kind": "pin", "key": "2580"}"#).send().await,
        ),
        ("/keys/{id}", "put", ask(Method::PUT, &format!("/api/v1/keys/{key}"), r#"{"revoked": true}"#).send().await),
        ("/rules/check", "post", ask(Method::POST, "/api/v1/rules/check", wrong).send().await),
        ("/rules", "put", ask(Method::PUT, "/api/v1/rules", &format!(r#"{{"text": {text}, "base": 1}}"#)).send().await),
        (
            "/rules/check",
            "post",
            ask(Method::POST, "/api/v1/rules/check", &format!(r#"{{"text": {text}}}"#)).send().await,
        ),
        ("/rules/versions/{id}", "get", server.get("/api/v1/rules/versions/1", &token).await),
        ("/rules/explain", "post", ask(Method::POST, "/api/v1/rules/explain", question).send().await),
    ]);
    answers.push(("/people", "get", server.get("/api/v1/people", &token).await));
    for (path, method, route) in [
        ("/people/{id}", Method::DELETE, "/api/v1/people/bob"),
        ("/people/{id}/restore", Method::POST, "/api/v1/people/bob/restore"),
        ("/keys/{id}", Method::DELETE, &*format!("/api/v1/keys/{key}")),
    ] {
        let name = method.as_str().to_lowercase();
        let answer = server.request(method, route).token(&token).send().await;
        answers.push((path, if name == "delete" { "delete" } else { "post" }, answer));
    }
    let edit = |values: &str| format!(r#"{{"text": {text}, "table": "rule", "at": 0, "values": {values}}}"#);
    let draft = format!(r#"{{"text": {text}}}"#);
    let who =
        format!(r#"{{"door": "house/front", "kind": "card", "text": {}}}"#, text.replace("group:residents", "carl"));
    answers.extend([
        ("/rules/form", "post", ask(Method::POST, "/api/v1/rules/form", "{}").send().await),
        ("/rules/form", "post", ask(Method::POST, "/api/v1/rules/form", r#"{"text": "version ="}"#).send().await),
        ("/rules/form", "post", ask(Method::POST, "/api/v1/rules/form", &draft).send().await),
        ("/rules/edit", "post", ask(Method::POST, "/api/v1/rules/edit", &edit(r#"{"priority": 3}"#)).send().await),
        ("/rules/edit", "post", ask(Method::POST, "/api/v1/rules/edit", &edit(r#"{"during": "none"}"#)).send().await),
        ("/rules/who", "post", ask(Method::POST, "/api/v1/rules/who", &who).send().await),
    ]);
    let pass = common::pass(&server.store).await;
    let (key, stolen) = ("/api/v1/pass-keys", r#"{"reason": "stolen"}"#);
    answers.extend([
        ("/pass-keys", "post", ask(Method::POST, key, "").send().await),
        ("/pass-keys/{id}/retire", "post", ask(Method::POST, &format!("{key}/2/retire"), "").send().await),
        ("/pass-keys/{id}/withdraw", "post", ask(Method::POST, &format!("{key}/2/withdraw"), stolen).send().await),
        ("/pass-keys", "get", server.get(key, &token).await),
    ]);
    // What was retired is followed by one that signs.
    ask(Method::POST, key, "").send().await;
    let on = r#"{"on": true}"#;
    answers.extend([
        ("/door-setup", "get", server.get("/api/v1/door-setup", &token).await),
        ("/doors/{id}/setup", "get", server.get("/api/v1/doors/yard%2Fgate/setup", &token).await),
        (
            "/doors/{id}/setup",
            "put",
            ask(Method::PUT, "/api/v1/doors/shed/setup", r#"{"params": {"relay": "x"}}"#).send().await,
        ),
        ("/people/{id}/code", "post", ask(Method::POST, "/api/v1/people/carl/code", "").send().await),
        ("/people/{id}/code", "get", server.get("/api/v1/people/carl/code", &token).await),
        ("/people/{id}/code", "delete", ask(Method::DELETE, "/api/v1/people/carl/code", "").send().await),
        ("/passes", "post", ask(Method::POST, "/api/v1/passes", r#"{"doors": ["any"]}"#).send().await),
        ("/passes/{id}", "get", server.get(&format!("/api/v1/passes/{pass}"), &token).await),
        (
            "/passes/{id}/withdraw",
            "post",
            ask(Method::POST, &format!("/api/v1/passes/{pass}/withdraw"), r#"{"reason": "lost"}"#).send().await,
        ),
        ("/passes", "get", server.get("/api/v1/passes", &token).await),
        ("/premises", "get", server.get("/api/v1/premises", &token).await),
        ("/doors/{id}/lockdown", "put", ask(Method::PUT, "/api/v1/doors/yard%2Fgate/lockdown", on).send().await),
        (
            "/doors/{id}/acknowledge",
            "post",
            ask(Method::POST, "/api/v1/doors/yard%2Fgate/acknowledge", "").send().await,
        ),
        ("/lockdown", "put", ask(Method::PUT, "/api/v1/lockdown", on).send().await),
        ("/emergency", "put", ask(Method::PUT, "/api/v1/emergency", on).send().await),
        ("/relay-drivers", "get", server.get("/api/v1/relay-drivers", &token).await),
        ("/relay-test", "post", ask(Method::POST, "/api/v1/relay-test", r#"{"door": "shed"}"#).send().await),
        ("/relay-status", "post", ask(Method::POST, "/api/v1/relay-status", r#"{"door": "shed"}"#).send().await),
        ("/doors/{id}", "delete", server.request(Method::DELETE, "/api/v1/doors/shed").token(&token).send().await),
    ]);
    let empty = async |method: Method, path: &str| server.request(method, path).token(&token).send().await;
    common::known(&server.store, "tess").await;
    common::bound(&server.store, "tess", 7).await;
    let tess = "/api/v1/telegram/people/tess";
    let told = r#"{"notices": ["alarms", "refusals", "openings"]}"#;
    let keypad = r#"{"name": "keypad/front", "door": "house/front"}"#;
    let link = "/api/v1/keypads/keypad%2Ffront/link";
    answers.extend([
        ("/telegram", "get", server.get("/api/v1/telegram", &token).await),
        ("/telegram", "put", ask(Method::PUT, "/api/v1/telegram", r#"{"token": null}"#).send().await),
        ("/telegram", "delete", empty(Method::DELETE, "/api/v1/telegram").await),
        ("/telegram/people/{id}", "put", ask(Method::PUT, tess, told).send().await),
        ("/telegram/people/{id}/test", "post", empty(Method::POST, &format!("{tess}/test")).await),
        ("/telegram/people/{id}/code", "post", ask(Method::POST, &format!("{tess}/code"), told).send().await),
        ("/telegram/people/{id}", "delete", empty(Method::DELETE, tess).await),
        ("/keypads", "post", ask(Method::POST, "/api/v1/keypads", keypad).send().await),
        ("/keypads/{id}/link", "post", empty(Method::POST, link).await),
        ("/keypads", "get", server.get("/api/v1/keypads", &token).await),
        ("/keypads/{id}/link", "delete", empty(Method::DELETE, link).await),
        ("/keypads/{id}", "delete", empty(Method::DELETE, "/api/v1/keypads/keypad%2Ffront").await),
    ]);
    // Afterwards the lists are empty.
    let emptied = [("forgive", r#"{"person": "bob"}"#), ("unblock", r#"{"reader": "yard/keypad"}"#)];
    for (path, body) in emptied {
        let answer = ask(Method::POST, &format!("/api/v1/premises/{path}"), body).send().await;
        let schema = &document["components"]["schemas"]["Premises"];
        check(&document, schema, &answer.json(), path).unwrap_or_else(|error| panic!("{error}"));
    }
    common::enrolled(&server.store, "eileen").await;
    let group = common::stranger(&server.store);
    let name = server.store.faces().group_name(group);
    server.store.sightings().keep(common::sighting("yard/camera", "stranger", Some(&name), 0)).await.unwrap();
    answers.push(("/strangers", "get", server.get("/api/v1/strangers", &token).await));
    let remember = |at| Seen { at, camera: "yard/camera".parse().unwrap(), sequence: 1 };
    let face = server.store.faces().look(common::portrait()).await.unwrap();
    let now = Clock::now(&server.clock);
    server.store.faces().memory().history(|history| history.add(&face, remember(now))).unwrap();
    let enrol = server.request(Method::POST, "/api/v1/faces").token(&token);
    let enrolment = r#"{"person": "bob", "list": "watch", "words": "a theft", "photos": ["bm8gcGhvdG8="]}"#;
    let naming = server.request(Method::PUT, &format!("/api/v1/strangers/{group}")).token(&token);
    let search = server.request(Method::POST, "/api/v1/face-search").token(&token).header("content-type", "image/jpeg");
    let forget = server.request(Method::DELETE, "/api/v1/faces/eileen").token(&token);
    answers.push(("/face-search", "post", search.raw(common::portrait()).send().await));
    answers.push(("/faces", "post", enrol.json(enrolment).send().await));
    answers.push(("/strangers/{id}", "put", naming.json(r#"{"person": "zoe", "words": "agreed"}"#).send().await));
    answers.push(("/faces/{id}", "delete", forget.json(r#"{"why": "moved away"}"#).send().await));
    answers.push(("/faces", "get", server.get("/api/v1/faces", &token).await));
    let near = Some("A124BC77 A128BC77".to_owned());
    let seen = NewSighting { near, ..common::sighting("yard/camera", "plate", Some("A123BC77"), 0) };
    server.store.sightings().keep(seen).await.unwrap();
    let at = Clock::now(&server.clock);
    server.site.cameras.lock().unwrap()[0].rests = vec![Rest {
        source: "yard/camera".parse().unwrap(),
        thing: 1,
        phase: RestPhase::Noticed,
        kind: RestKind::Left,
        since: at,
        at,
        sequence: 1,
        region: Region::WHOLE,
        zones: vec!["gate".to_owned()],
    }];
    let tamper =
        Tamper { source: "yard/camera".parse().unwrap(), kind: TamperKind::Covered, is_over: false, at, sequence: 1 };
    server.site.cameras.lock().unwrap()[0].tampers = vec![tamper];
    for path in [
        "/health",
        "/session",
        "/cameras",
        "/clips",
        "/sightings",
        "/plates",
        "/doors",
        "/doors/changes",
        "/journal",
        "/journal/services",
        "/journal/head",
        "/rules",
        "/rules/versions",
        "/openapi.json",
    ] {
        let answer = server.get(&format!("/api/v1{path}"), &token).await;
        if path == "/openapi.json" {
            assert_eq!(answer.json(), document);
        } else {
            answers.push((path, "get", answer));
        }
    }
    for (path, method, answer) in answers {
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        let schema = &document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"];
        check(&document, schema, &answer.json(), path).unwrap_or_else(|error| panic!("{error}"));
        // A list that happens to be empty would prove nothing.
        assert!(
            !answer.text().contains(":[]")
                || [
                    "/doors",
                    "/doors/{id}/lockdown",
                    "/doors/{id}/acknowledge",
                    "/cameras",
                    "/sightings",
                    "/people",
                    "/keys/{id}",
                    "/people/{id}",
                    "/rules/explain",
                    "/rules/form",
                    "/relay-drivers"
                ]
                .contains(&path),
            "{path}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn errors_have_their_schema_too() {
    let server = Server::start().await;
    let document = document();
    let schema = &document["components"]["schemas"]["Error"];
    let token = server.token("vera").await;
    for (path, status) in [
        ("/api/v1/nothing", StatusCode::NOT_FOUND),
        ("/api/v1/clips/none/video", StatusCode::NOT_FOUND),
        ("/api/v1/journal?from=yesterday", StatusCode::BAD_REQUEST),
        ("/api/v1/journal?level=loud", StatusCode::BAD_REQUEST),
        ("/api/v1/sightings?kind=ghost", StatusCode::BAD_REQUEST),
        ("/api/v1/plates", StatusCode::FORBIDDEN),
        ("/api/v1/sightings?before=first", StatusCode::BAD_REQUEST),
        ("/api/v1/sightings/none/crop", StatusCode::NOT_FOUND),
        ("/api/v1/sightings/77/crop", StatusCode::NOT_FOUND),
        ("/api/v1/journal?limit=many", StatusCode::BAD_REQUEST),
        ("/api/v1/clips?camera=a%20b", StatusCode::BAD_REQUEST),
        ("/api/v1/cameras/yard%2Fcamera/live", StatusCode::UPGRADE_REQUIRED),
        ("/api/v1/doors/house%2Ffront/open", StatusCode::METHOD_NOT_ALLOWED),
        ("/api/v1/cameras/%FF/live", StatusCode::BAD_REQUEST),
    ] {
        let answer = server.get(path, &token).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        check(&document, schema, &answer.json(), path).unwrap_or_else(|error| panic!("{error}"));
    }
}
