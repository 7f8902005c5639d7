//! Whatever the camera and the detector do, no wanted fragment is missing from the clips and none is there twice.

use std::time::Duration;

use godvision_core::signal::media::{Fragment, FrameKind};
use godvision_core::signal::seen::{Motion, MotionPhase};
use godvision_core::{Name, Stamp};
use godvision_ftp::clip::{ClipAction, ClipCutter, ClipOptions, ClipSummary, CloseReason, OpenReason, RecordMode};
use godvision_ftp::sample::Stream;
use proptest::prelude::*;

fn motion(event: u64, phase: MotionPhase, at: Stamp, sequence: u64) -> Motion {
    let source = Name::new("yard").unwrap();
    Motion { source, event, phase, at, sequence, regions: Vec::new(), zones: Vec::new(), share: 0.1, mask: None }
}

fn options() -> ClipOptions {
    ClipOptions {
        pre_roll: Duration::from_secs(2),
        post_roll: Duration::from_secs(3),
        length_min: Duration::from_secs(1),
        length_max: Duration::from_secs(10),
        detection_delay_max: Duration::from_secs(1),
        ..ClipOptions::default()
    }
}

struct Clip {
    fragments: Vec<Fragment>,
    end: ClipSummary,
}

/// Checks the order of the actions and gathers whole clips.
fn clips(actions: Vec<ClipAction>) -> Vec<Clip> {
    let (mut clips, mut open) = (Vec::new(), None::<Vec<Fragment>>);
    for action in actions {
        match action {
            ClipAction::Open(start) => {
                assert!(open.is_none() && start.frames == 0 && start.closed_by.is_none());
                open = Some(Vec::new());
            }
            ClipAction::Append(fragment) => open.as_mut().expect("a clip is open").push(fragment),
            ClipAction::Close(end) => {
                clips.push(Clip { fragments: open.take().expect("a clip is open"), end: *end });
            }
        }
    }
    assert!(open.is_none());
    for clip in &clips {
        let (first, last) = (&clip.fragments[0], clip.fragments.last().unwrap());
        let end = &clip.end;
        assert_eq!(end.frames, clip.fragments.len() as u64);
        assert_eq!(end.bytes, clip.fragments.iter().map(|f| f.wire_bytes() as u64).sum::<u64>());
        assert_eq!((end.started, end.ended), (first.at, last.at));
        assert_eq!((end.first_sequence, end.last_sequence), (first.sequence, last.sequence));
        assert!(clip.fragments.iter().all(|f| f.session == first.session && f.init == first.init));
        assert_eq!(end.starts_at_key, first.kind == FrameKind::Key);
        assert!(end.starts_at_key || end.opened_by == OpenReason::Continuation);
        let missing: u64 = end.gaps.iter().map(|gap| gap.frames).sum();
        assert_eq!(last.sequence - first.sequence + 1, end.frames + missing, "every gap is written down");
    }
    let sequences: Vec<u64> = clips.iter().flat_map(|clip| &clip.fragments).map(|f| f.sequence).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "in order and none twice: {sequences:?}");
    clips
}

#[derive(Clone, Debug)]
enum Act {
    Frames(u8),
    Lose(u8),
    Session,
    Format,
    Start { late_frames: u8 },
    Ongoing,
    End,
    Mode(RecordMode),
    DiskFails,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => (1u8..120).prop_map(Act::Frames),
        1 => (1u8..40).prop_map(Act::Lose),
        1 => Just(Act::Session),
        1 => Just(Act::Format),
        3 => (0u8..25).prop_map(|late_frames| Act::Start { late_frames }),
        2 => Just(Act::Ongoing),
        3 => Just(Act::End),
    ];
    prop::collection::vec(act, 1..40)
}

struct Run {
    sent: Vec<Fragment>,
    /// First and last moving frame of each motion, with the frame at which it was reported.
    motions: Vec<(Fragment, Fragment, Fragment)>,
    clips: Vec<Clip>,
}

fn run(acts: &[Act], group: u64, mode: RecordMode) -> Run {
    let mut stream = Stream::new("yard", group);
    let mut cutter = ClipCutter::new(options(), mode);
    let (mut actions, mut sent) = (Vec::new(), Vec::<Fragment>::new());
    let (mut motions, mut moving, mut event) = (Vec::new(), None::<(u64, Fragment, Fragment)>, 0);
    for act in acts.iter().chain([&Act::Frames(255), &Act::End, &Act::Frames(255), &Act::Frames(255)]) {
        match act {
            Act::Frames(count) => {
                for _ in 0..*count {
                    let fragment = stream.frame();
                    sent.push(fragment.clone());
                    cutter.fragment(fragment.clone(), &mut actions);
                    // A fragment that comes twice is recorded once.
                    if fragment.sequence.is_multiple_of(7) {
                        cutter.fragment(fragment, &mut actions);
                    }
                }
            }
            Act::Lose(frames) => stream.lose(u64::from(*frames)),
            Act::Session => stream.new_session(),
            Act::Format => stream.new_format(),
            Act::Start { late_frames } => {
                let Some(seen) = sent.len().checked_sub(1 + usize::from(*late_frames)).map(|i| sent[i].clone()) else {
                    continue;
                };
                // A detector reports motions in the order in which they happen.
                let in_order =
                    motions.last().is_none_or(|(_, last, _): &(_, Fragment, _)| last.sequence <= seen.sequence);
                let in_time = sent.last().unwrap().at.mono.since(seen.at.mono) < options().detection_delay_max;
                if moving.is_none() && in_order && in_time {
                    event += 1;
                    cutter.motion(&motion(event, MotionPhase::Started, seen.at, seen.sequence), &mut actions);
                    moving = Some((event, seen, sent.last().unwrap().clone()));
                }
            }
            Act::Ongoing => {
                if let Some((event, ..)) = &moving {
                    let last = sent.last().unwrap();
                    cutter.motion(&motion(*event, MotionPhase::Ongoing, last.at, last.sequence), &mut actions);
                }
            }
            Act::End => {
                if let Some((event, first, reported)) = moving.take() {
                    let last = sent.last().unwrap();
                    cutter.motion(&motion(event, MotionPhase::Ended, last.at, last.sequence), &mut actions);
                    motions.push((first, last.clone(), reported));
                }
            }
            Act::Mode(mode) => cutter.set_mode(*mode, &mut actions),
            Act::DiskFails => {
                while !matches!(actions.last(), None | Some(ClipAction::Close(_))) {
                    actions.pop();
                }
                cutter.storage_failed(1);
            }
        }
    }
    cutter.finish(&mut actions);
    Run { sent, motions, clips: clips(actions) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_surrounds_a_motion_is_recorded(acts in acts(), group in 1u64..60) {
        let run = run(&acts, group, RecordMode::OnMotion);
        let recorded: std::collections::BTreeSet<u64> =
            run.clips.iter().flat_map(|clip| &clip.fragments).map(|f| f.sequence).collect();
        for (first, last, reported) in &run.motions {
            let from = first.at.mono.saturating_sub(options().pre_roll);
            let to = last.at.mono + options().post_roll;
            for fragment in &run.sent {
                // The pre-roll does not reach across a cut of the stream; the rest of the motion does.
                let same_stream = fragment.session == reported.session && fragment.init == reported.init;
                let inside = fragment.at.mono >= from && fragment.at.mono < to;
                if inside && (same_stream || fragment.sequence > reported.sequence) {
                    prop_assert!(recorded.contains(&fragment.sequence), "frame {} of {first:?}..{last:?}", fragment.sequence);
                }
            }
        }
        if run.motions.is_empty() {
            prop_assert!(recorded.is_empty());
        }
        for clip in &run.clips {
            let length = clip.end.ended.mono.since(clip.end.started.mono);
            prop_assert!(length < options().length_max * ClipOptions::HARD_FACTOR + Duration::from_secs(2));
        }
    }

    #[test]
    fn recorded_always_means_every_frame(acts in acts(), group in 1u64..60) {
        let run = run(&acts, group, RecordMode::Always);
        let recorded: Vec<u64> = run.clips.iter().flat_map(|clip| &clip.fragments).map(|f| f.sequence).collect();
        let sent: Vec<u64> = run.sent.iter().map(|f| f.sequence).collect();
        prop_assert_eq!(recorded, sent);
    }

    #[test]
    fn switching_and_failing_keep_the_order(
        acts in prop::collection::vec(prop_oneof![
            4 => (1u8..100).prop_map(Act::Frames),
            1 => Just(Act::Start { late_frames: 0 }),
            1 => Just(Act::End),
            1 => prop_oneof![Just(RecordMode::Off), Just(RecordMode::OnMotion), Just(RecordMode::Always)].prop_map(Act::Mode),
            1 => Just(Act::DiskFails),
        ], 1..40)
    ) {
        let run = run(&acts, 10, RecordMode::OnMotion);
        prop_assert!(run.clips.iter().all(|clip| !clip.fragments.is_empty()));
    }
}

#[test]
fn a_long_clip_is_split_at_a_key_frame_without_a_gap() {
    let acts = [Act::Frames(60), Act::Start { late_frames: 0 }, Act::Frames(250), Act::Frames(250), Act::End];
    let run = run(&acts, 50, RecordMode::OnMotion);
    assert!(run.clips.len() >= 2);
    for pair in run.clips.windows(2) {
        assert_eq!(pair[0].end.closed_by, Some(CloseReason::Length));
        assert_eq!(pair[1].end.opened_by, OpenReason::Continuation);
        assert_eq!(pair[0].end.last_sequence + 1, pair[1].end.first_sequence);
        assert!(pair[1].end.starts_at_key);
    }
    assert_eq!(run.clips.last().unwrap().end.closed_by, Some(CloseReason::Quiet));
}

#[test]
fn a_stream_without_key_frames_is_split_at_the_hard_limit() {
    let acts =
        [Act::Frames(200), Act::Frames(200), Act::Frames(200), Act::Frames(200), Act::Frames(200), Act::Frames(200)];
    let run = run(&acts, u64::MAX, RecordMode::Always);
    assert!(run.clips.len() >= 2);
    assert!(!run.clips[1].end.starts_at_key);
}

#[test]
fn off_closes_at_once_and_a_silent_stream_closes_by_itself() {
    let mut stream = Stream::new("yard", 10);
    let mut cutter = ClipCutter::new(options(), RecordMode::Always);
    let mut actions = Vec::new();
    cutter.fragment(stream.frame(), &mut actions);
    cutter.set_mode(RecordMode::Off, &mut actions);
    assert!(matches!(actions.last(), Some(ClipAction::Close(end)) if end.closed_by == Some(CloseReason::Stopped)));
    cutter.set_mode(RecordMode::Always, &mut actions);
    stream.new_session();
    cutter.fragment(stream.frame(), &mut actions);
    assert!(cutter.current().is_some());
    cutter.tick(stream.now().mono + Duration::from_secs(9), &mut actions);
    assert!(cutter.current().is_some());
    cutter.tick(stream.now().mono + Duration::from_secs(11), &mut actions);
    assert!(matches!(actions.last(), Some(ClipAction::Close(end)) if end.closed_by == Some(CloseReason::StreamLost)));
}

#[test]
fn a_lost_detector_does_not_record_for_ever() {
    let acts = [Act::Frames(60), Act::Start { late_frames: 0 }];
    let more = std::iter::repeat_n(Act::Frames(250), 12);
    let acts: Vec<Act> = acts.into_iter().chain(more).collect();
    let run = run(&acts, 25, RecordMode::OnMotion);
    let recorded: u64 = run.clips.iter().map(|clip| clip.end.frames).sum();
    let silence = options_silence_frames();
    assert!(recorded < silence + 25 * 10, "{recorded} frames recorded");
    assert!(recorded > silence);
}

fn options_silence_frames() -> u64 {
    ClipOptions::default().motion_silence_max.as_secs() * 25
}

#[test]
fn frames_lost_to_a_failed_disk_are_told_by_the_next_clip() {
    let mut stream = Stream::new("yard", 10);
    let mut cutter = ClipCutter::new(options(), RecordMode::Always);
    let mut actions = Vec::new();
    for _ in 0..5 {
        cutter.fragment(stream.frame(), &mut actions);
    }
    cutter.storage_failed(5);
    actions.clear();
    for _ in 5..20 {
        cutter.fragment(stream.frame(), &mut actions);
    }
    assert!(
        matches!(&actions[0], ClipAction::Open(start) if start.unrecorded_before == 5 && start.first_sequence == 10)
    );
}
