//! What a credential costs before the rules are asked: a guest's pass, a resident's rolling code, a PIN.
//!
//! A pass is one Ed25519 verification, a rolling code one HMAC, a PIN one Argon2id, which is by far the dearest: it is what
//! keeps the way from the last digit to the relay below 10 ms or not.

use criterion::{Criterion, criterion_group, criterion_main};
use godvision_access::credential::Directory;
use godvision_access::pass::rolling::{RollingSecret, RollingVerifier};
use godvision_access::pass::{Doors, PassClaims, PassId, PassKey, PassVerifier, Uses};
use godvision_core::signal::door::Key;
use godvision_core::{Name, WallTime};

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn passes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("passes");
    let (site, ada, now) = (name("home"), name("ada"), WallTime::from_unix_seconds(1_795_255_200));
    let claims = PassClaims {
        id: PassId([1; 6]),
        person: Some(ada.clone()),
        doors: Doors::One(name("yard/door")),
        not_before: now,
        not_after: now.plus_micros(3_600_000_000),
        uses: Uses::Times(1),
    };
    let key = PassKey::insecure_demo();
    let pass = key.sign(&site, &claims).expect("good claims");
    let mut rolling = RollingVerifier::new(site.clone());
    let secret = RollingSecret::from_bytes([7; 32]);
    let (code, _) = secret.code(&site, &ada, now).expect("after 1970");
    for number in 0..1_000 {
        rolling.add(&name(&format!("person{number}")), RollingSecret::from_bytes([8; 32])).expect("another");
    }
    rolling.add(&ada, secret).expect("another");
    let verifier = PassVerifier::new(site.clone()).with(key.public()).with_rolling(rolling);
    group.bench_function("sign a pass", |bench| bench.iter(|| key.sign(&site, &claims).expect("good claims")));
    group.bench_function("read a pass", |bench| bench.iter(|| verifier.read(&pass).expect("just signed")));
    group.bench_function("read a rolling code", |bench| {
        bench.iter(|| verifier.read_rolling(&code, now).expect("just made"));
    });
    let mut directory = Directory::new([7; 16]);
    directory.add_person(ada.clone()).expect("nobody yet");
    let pin = Key::Pin("2580".into());
    directory.add_key(&ada, &pin).expect("nobody has it");
    group.bench_function("look up a PIN", |bench| bench.iter(|| directory.who(&pin).expect("hers")));
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots().sample_size(50);
    targets = passes
}
criterion_main!(benches);
