//! What people read: alarms, decisions and states of doors in words.
//!
//! **Never:** markup, so that a name or a note cannot become any; a credential.

use godvision_core::signal::door::{AlarmKind, Decision, DoorAlarm, DoorEvent, DoorState, Verdict};

use crate::store::Waiting;

/// Lines of one message, where much happened at once.
const LINES_MAX: usize = 20;

/// An alarm; what is over only where somebody may still be on the way because of it.
pub(super) fn alarm(alarm: &DoorAlarm) -> String {
    let what = match alarm.kind {
        AlarmKind::Forced => "forced open: nobody had unlocked it",
        AlarmKind::Held => "stands open too long",
        AlarmKind::Duress => "DURESS: somebody is made to open. Nothing at the door shows this alarm",
        AlarmKind::Guessing => "too many wrong codes",
        AlarmKind::PassedBack => "somebody went in twice without coming out",
        AlarmKind::Tampered => "a device at the door was opened or does not answer",
        AlarmKind::Emergency => "emergency: unlocked",
    };
    let who = alarm.person.as_ref().map(|person| format!(" ({person})")).unwrap_or_default();
    match alarm.raised {
        true => format!("⚠ {}: {what}{who}", alarm.door),
        false => format!("✓ {}: over: {what}{who}", alarm.door),
    }
}

/// A decision.
pub(super) fn decision(decision: &Decision) -> String {
    let door = decision.door.as_ref().unwrap_or(&decision.source);
    let who = decision.user.as_ref().map_or_else(|| "somebody unknown".to_owned(), ToString::to_string);
    match decision.verdict {
        Verdict::Admit => format!("{door}: {who} let in by {}", decision.credential),
        Verdict::Refuse => format!("✕ {door}: {who} refused by {}: {}", decision.credential, decision.reason),
    }
}

/// What a door came into or out of, where that is an alarm.
pub(super) fn state(event: &DoorEvent, before: Option<DoorState>) -> Option<String> {
    let is_alarm = |state: DoorState| matches!(state, DoorState::Fault | DoorState::LockedDown);
    match (event.state, before) {
        (now, Some(before)) if now == before => None,
        (DoorState::Fault, _) => {
            Some(format!("⚠ {}: the relay is not confirmed, somebody must look: {}", event.door, event.detail))
        }
        (DoorState::LockedDown, _) => Some(format!("⚠ {}: locked down", event.door)),
        (DoorState::Locked | DoorState::Unlocked | DoorState::Free, Some(before)) if is_alarm(before) => {
            Some(format!("✓ {}: {} again", event.door, event.state))
        }
        _ => None,
    }
}

/// What waits for one chat, as one message: nothing is left out that is not counted.
pub(super) fn together(waiting: &[Waiting]) -> String {
    let more: u64 = waiting.iter().map(|it| u64::from(it.more)).sum();
    if let ([one], 0) = (waiting, more) {
        return one.text.clone();
    }
    let mut text = format!("{} messages at once:", waiting.len() as u64 + more);
    let (mut lines, mut chars) = (0, text.len());
    for it in waiting.iter().take(LINES_MAX) {
        chars += it.text.len() + 1;
        if chars > 3500 {
            break;
        }
        text.push('\n');
        text.push_str(&it.text);
        lines += 1;
    }
    let left = waiting.len() as u64 - lines + more;
    if left > 0 {
        text.push_str(&format!("\n… and {left} more: see the journal"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::WallTime;

    #[test]
    fn a_flood_is_one_message_that_counts_everything() {
        let at = WallTime::from_unix_seconds(0);
        let one =
            |id: i64, more| Waiting { id, chat: 1, text: format!("number {id}"), door: None, at, more, message: None };
        assert_eq!(together(&[one(1, 0)]), "number 1");
        let flood: Vec<Waiting> = (0..200).map(|id| one(id, if id == 199 { 800 } else { 0 })).collect();
        let text = together(&flood);
        assert!(text.starts_with("1000 messages at once:\nnumber 0\n"), "{text}");
        assert!(text.ends_with("number 19\n… and 980 more: see the journal"), "{text}");
        let long = Waiting { text: "x".repeat(3000), ..one(1, 0) };
        assert!(together(&[long.clone(), long]).chars().count() < super::super::api::TEXT_CHARS_MAX);
    }
}
