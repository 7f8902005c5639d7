//! The vectors of `tests/vectors/passes.txt`, which other implementations wrote: each good one is written and read, each
//! bad one is refused for what is wrong with it. And what no vector can say: that a change anywhere is noticed.

use std::collections::BTreeMap;
use std::time::Duration;

use godvision_access::Error;
use godvision_access::pass::rolling::{RollingSecret, RollingVerifier};
use godvision_access::pass::{
    DOORS_MAX, Doors, NOT_BEFORE_TOLERANCE, PREFIX, PassClaims, PassDefect, PassId, PassKey, PassVerifier, Revocation,
    Revoked, TEXT_CHARS_MAX, Uses,
};
use godvision_core::signal::door::Reason;
use godvision_core::{Name, Secret, WallTime};
use proptest::prelude::*;

const VECTORS: &str = include_str!("vectors/passes.txt");

type Fields = BTreeMap<&'static str, &'static str>;

/// What a vector is, what it is about, and its fields.
fn vectors(kind: &'static str) -> Vec<(&'static str, Fields)> {
    let of_kind = |block: &'static str| {
        let (head, fields) = block.split_once('\n')?;
        let what = head.strip_prefix(kind)?.strip_prefix(": ")?;
        Some((what, fields.lines().map(|line| line.split_once(' ').unwrap()).collect()))
    };
    VECTORS.split("\n\n").filter_map(of_kind).collect()
}

fn text(fields: &Fields) -> Secret {
    fields["text"].strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap().into()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn at(seconds: i64) -> WallTime {
    WallTime::from_unix_seconds(seconds)
}

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    std::array::from_fn(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap())
}

fn claims(fields: &Fields) -> PassClaims {
    let doors = fields["doors"];
    PassClaims {
        id: PassId(bytes(fields["id"])),
        person: Some(fields["person"]).filter(|it| *it != "-").map(name),
        doors: match doors.strip_prefix("group:") {
            Some(group) => Doors::Group(name(group)),
            None if doors == "any" => Doors::All,
            None if doors.contains(',') => Doors::Each(doors.split(',').map(name).collect()),
            None => Doors::One(name(doors)),
        },
        not_before: at(fields["from"].parse().unwrap()),
        not_after: at(fields["until"].parse().unwrap()),
        uses: match fields["uses"].parse().unwrap() {
            0 => Uses::Any,
            times => Uses::Times(times),
        },
    }
}

fn verifier(site: &str) -> PassVerifier {
    PassVerifier::new(name(site)).with(PassKey::insecure_demo().public())
}

fn demo_claims() -> PassClaims {
    claims(&vectors("good pass")[0].1)
}

fn signed(claims: &PassClaims) -> Secret {
    PassKey::insecure_demo().sign(&name("demo"), claims).unwrap()
}

#[test]
fn good_passes_are_written_and_read() {
    let good = vectors("good pass");
    assert_eq!(good.len(), 11);
    for (what, fields) in good {
        let (site, claims, text) = (name(fields["site"]), claims(&fields), text(&fields));
        assert_eq!(PassKey::insecure_demo().sign(&site, &claims).unwrap(), text, "{what}");
        let read = verifier(site.as_str()).read(&text).unwrap();
        assert_eq!((read.key, read.claims), (0, claims), "{what}");
    }
}

#[test]
fn bad_passes_are_refused_though_their_signatures_are_good() {
    let bad = vectors("bad pass");
    assert_eq!(bad.len(), 42);
    for (what, fields) in bad {
        let refused = verifier("demo").read(&text(&fields)).unwrap_err();
        let expected = match fields["defect"] {
            "OtherSite" => PassDefect::OtherSite,
            "UnknownKey" => PassDefect::UnknownKey { key: 7 },
            "BadSignature" => PassDefect::BadSignature,
            "Damaged" => PassDefect::Damaged,
            other => panic!("{other}"),
        };
        assert_eq!(refused, expected, "{what}");
    }
}

#[test]
fn rolling_codes_are_written_and_read() {
    let codes = vectors("rolling code");
    assert_eq!(codes.len(), 4);
    for (what, fields) in codes {
        let (site, person) = (name(fields["site"]), name(fields["person"]));
        let (secret, now) = (RollingSecret::from_bytes(bytes(fields["secret"])), at(fields["at"].parse().unwrap()));
        assert_eq!(secret.code(&site, &person, now).unwrap().0, text(&fields), "{what}");
        let mut verifier = RollingVerifier::new(site);
        verifier.add(&person, secret).unwrap();
        let code = verifier.read(&text(&fields), now).unwrap();
        assert_eq!((code.person, i64::from(code.step)), (person, now.as_unix_seconds() / 30), "{what}");
    }
}

#[test]
fn a_usual_pass_fits_45_modules() {
    let once = PassClaims { uses: Uses::Times(1), person: Some(name("guest/anna")), ..demo_claims() };
    // ISO/IEC 18004, table 7: 195 and 224 characters at level L.
    assert!(signed(&demo_claims()).expose().len() <= 195, "41 x 41");
    assert!(signed(&once).expose().len() <= 224, "45 x 45");
}

#[test]
fn claims_that_make_no_sense_are_not_signed() {
    let good = demo_claims();
    let doors = |count| Doors::Each((0..count).map(|number| name(&format!("d{number}"))).collect());
    let long = "x".repeat(64);
    for bad in [
        PassClaims { not_after: good.not_before, ..good.clone() },
        PassClaims { not_before: at(-1), ..good.clone() },
        PassClaims { not_after: at(1 << 32), ..good.clone() },
        PassClaims { uses: Uses::Times(0), ..good.clone() },
        PassClaims { doors: doors(1), ..good.clone() },
        PassClaims { doors: doors(DOORS_MAX + 1), ..good.clone() },
        PassClaims { doors: Doors::One(name("any")), ..good.clone() },
        PassClaims { doors: Doors::Each(vec![name("any"), name("door")]), ..good.clone() },
        PassClaims { doors: Doors::Each(vec![name(&long), name(&long)]), person: Some(name(&long)), ..good.clone() },
    ] {
        let refused = PassKey::insecure_demo().sign(&name("demo"), &bad);
        assert!(matches!(refused, Err(Error::BadClaims { .. })), "{bad:?}");
    }
    let longest = PassClaims { doors: Doors::One(name(&long)), person: Some(name(&long)), ..good };
    assert!(signed(&longest).expose().len() <= TEXT_CHARS_MAX);
    assert!(verifier("demo").read(&signed(&longest)).is_ok());
}

#[test]
fn a_text_beyond_the_limit_is_not_even_decoded() {
    let long = format!("{PREFIX}{}", "0".repeat(TEXT_CHARS_MAX));
    assert_eq!(verifier("demo").read(&long.into()), Err(PassDefect::Damaged));
}

#[test]
fn doors_are_what_is_named_and_nothing_near_it() {
    let (door, gate, group) = (name("yard/door"), name("yard/gate"), name("yard"));
    let read = |doors| verifier("demo").read(&signed(&PassClaims { doors, ..demo_claims() })).unwrap();
    let one = read(Doors::One(door.clone()));
    assert!(one.is_for(&door, []) && !one.is_for(&gate, [&door]));
    let each = read(Doors::Each(vec![gate.clone(), door.clone()]));
    assert!(each.is_for(&door, []) && each.is_for(&gate, []) && !each.is_for(&group, []));
    let of_group = read(Doors::Group(group.clone()));
    assert!(of_group.is_for(&gate, [&group]) && !of_group.is_for(&group, []), "a door is not the group of its name");
    assert!(read(Doors::All).is_for(&gate, []));
}

#[test]
fn the_beginning_is_tolerant_and_the_end_is_not() {
    let (from, until) = (1_800_000_000, 1_800_003_600);
    let claims = PassClaims { not_before: at(from), not_after: at(until), ..demo_claims() };
    let tolerance = NOT_BEFORE_TOLERANCE.as_secs() as i64;
    let strict = verifier("demo").with_tolerance(Duration::ZERO);
    for (verifier, first) in [(verifier("demo"), from - tolerance), (strict, from)] {
        let pass = verifier.read(&signed(&claims)).unwrap();
        for (now, expected) in
            [(first - 1, Err(Reason::NotYetValid)), (first, Ok(())), (until - 1, Ok(())), (until, Err(Reason::Expired))]
        {
            assert_eq!(verifier.check(&pass, at(now)), expected, "{now}");
        }
    }
    // A pass that ends before the tolerated time begins is not revived by any tolerance.
    let wide = verifier("demo").with_tolerance(Duration::MAX);
    let pass = wide.read(&signed(&claims)).unwrap();
    assert_eq!((wide.check(&pass, at(0)), wide.check(&pass, at(until))), (Ok(()), Err(Reason::Expired)));
}

#[test]
fn what_is_withdrawn_is_refused() {
    let lost = || Revocation { at: at(0), reason: "lost".into(), until: None };
    let pass = verifier("demo").read(&signed(&demo_claims())).unwrap();
    let now = at(1_800_000_000);
    let of_pass = Revoked::Pass { key: 0, id: pass.id() };
    for what in [of_pass, Revoked::Key(0), Revoked::Person(name("ada"))] {
        let mut verifier = verifier("demo");
        verifier.revocations_mut().add(what, lost()).unwrap();
        assert_eq!(verifier.check(&pass, now), Err(Reason::Revoked));
    }
    let mut rolling = RollingVerifier::new(name("demo"));
    rolling.add(&name("ada"), RollingSecret::from_bytes([7; 32])).unwrap();
    let (code, _) = RollingSecret::from_bytes([7; 32]).code(&name("demo"), &name("ada"), now).unwrap();
    let mut verifier = verifier("demo").with_rolling(rolling);
    assert!(verifier.read_rolling(&code, now).is_ok());
    verifier.revocations_mut().add(Revoked::Person(name("ada")), lost()).unwrap();
    assert_eq!(verifier.read_rolling(&code, now).unwrap_err().reason(), Reason::Revoked);
}

#[test]
fn every_changed_character_is_noticed() {
    let text = signed(&demo_claims());
    let verifier = verifier("demo");
    for position in 0..text.expose().len() {
        for replacement in ['0', 'A', ':', 'a', 'ä'] {
            let mut changed: Vec<char> = text.expose().chars().collect();
            if changed[position] == replacement {
                continue;
            }
            changed[position] = replacement;
            let changed: String = changed.into_iter().collect();
            assert!(verifier.read(&changed.as_str().into()).is_err(), "{replacement:?} at {position}");
        }
    }
    for length in 0..text.expose().len() {
        assert!(verifier.read(&text.expose()[..length].into()).is_err(), "cut at {length}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "(GV2:)?\\PC{0,200}") {
        prop_assert!(verifier("demo").read(&text.into()).is_err());
    }

    #[test]
    fn what_was_signed_is_read(
        id: [u8; 6], person in proptest::option::of("[a-z]{1,9}(/[а-я]{1,5})?"), doors in "[a-z]{1,6}", form in 0..4,
        from in 0u32..u32::MAX, length in 1u32.., uses: u8,
    ) {
        let claims = PassClaims {
            id: PassId(id),
            person: person.as_deref().map(name),
            doors: match form {
                0 => Doors::One(name(&format!("x{doors}"))),
                1 => Doors::Group(name(&doors)),
                2 => Doors::Each(vec![name(&format!("x{doors}")), name("door")]),
                _ => Doors::All,
            },
            not_before: at(from.into()),
            not_after: at(from.saturating_add(length).into()),
            uses: if uses == 0 { Uses::Any } else { Uses::Times(uses) },
        };
        let text = signed(&claims);
        prop_assert_eq!(verifier("demo").read(&text).unwrap().claims, claims);
    }
}
