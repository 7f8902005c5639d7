//! The drivers over HTTP and TCP pass the exported behaviour suite over their real wires, and keep what their devices'
//! documents ask of them.

use std::sync::Arc;
use std::time::Duration;

use godvision_access::relay::endpoint::DeviceOptions;
use godvision_access::relay::fake::{self, Fake};
use godvision_access::relay::{
    RelayRegistry, fake_dingtian, fake_kmtronic, fake_laurent, fake_plain, fake_shelly1, fake_sonoff, fake_sr201,
    fake_tasmota,
};
use godvision_access::relay::{dingtian, kmtronic, laurent, shelly1, sonoff, sr201, tasmota};
use godvision_core::driver::conformance::relay::{RelayBench, Spoil};
use godvision_core::driver::relay::{Contact, PulseTiming, Relay, RelayError};
use godvision_core::{Clock, ManualClock, Secret, SystemClock};

const PASSWORD: &str = "p&ss:wörd 1";
const TIMEOUT: Duration = Duration::from_millis(400);
const BRIEFLY: Duration = Duration::from_millis(5);
const ANY_TIMER: PulseTiming = PulseTiming::Device { min: Duration::ZERO, max: Duration::ZERO, step: Duration::ZERO };

struct Bench {
    clock: ManualClock,
    device: Fake,
    relay: Arc<dyn Relay>,
    wrong: Option<Arc<dyn Relay>>,
    password: Option<&'static str>,
    can_refuse: bool,
}

impl Bench {
    /// A bench of a device and of what makes its driver from a password.
    async fn of<S>(
        password: Option<&'static str>,
        start: impl FnOnce(Option<Secret>, Arc<dyn Clock>) -> S,
        driver: impl Fn(DeviceOptions) -> Arc<dyn Relay>,
    ) -> Self
    where
        S: Future<Output = std::io::Result<Fake>>,
    {
        let clock = ManualClock::default();
        let device = start(password.map(Secret::from), Arc::new(clock.clone())).await.unwrap();
        let options = |password: Option<&str>| DeviceOptions {
            password: password.map(Secret::from),
            channels: 2,
            inputs: 2,
            timeout: TIMEOUT,
            ..DeviceOptions::new(device.address().to_string())
        };
        let (relay, wrong) = (driver(options(password)), password.map(|_| driver(options(Some("wrong")))));
        Self { clock, device, relay, wrong, password, can_refuse: true }
    }
}

impl RelayBench for Bench {
    fn relay(&self) -> Arc<dyn Relay> {
        Arc::clone(&self.relay)
    }

    fn relay_with_wrong_password(&self) -> Option<Arc<dyn Relay>> {
        self.wrong.clone()
    }

    fn password(&self) -> Option<String> {
        self.password.map(str::to_owned)
    }

    fn timeout(&self) -> Duration {
        TIMEOUT
    }

    fn contact(&self, channel: u8) -> Contact {
        self.device.contact(channel)
    }

    fn press(&self, channel: u8, contact: Contact) {
        self.device.press(channel, contact);
    }

    fn spoil(&self, how: Spoil) {
        self.device.spoil(match how {
            Spoil::Nothing => fake::Spoil::Nothing,
            Spoil::CutLink => fake::Spoil::CutLink,
            Spoil::Slow => fake::Spoil::Silence,
            Spoil::Half => fake::Spoil::Half,
            Spoil::Garbage => fake::Spoil::Garbage,
            Spoil::Refuse => fake::Spoil::Refuse,
        });
    }

    fn close_input(&self, input: u8, contact: Contact) {
        self.device.close_input(input, contact);
    }

    fn reboot(&self) {
        self.device.reboot();
    }

    fn can_refuse(&self) -> bool {
        self.can_refuse
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn moves(&self) -> usize {
        self.device.moves()
    }
}

async fn shelly1_bench(password: Option<&'static str>) -> Bench {
    let start = |password, clock| fake_shelly1::start(2, password, clock);
    Bench::of(password, start, |options| Arc::new(shelly1::Shelly1::new(options))).await
}

async fn tasmota_bench(password: Option<&'static str>) -> Bench {
    let start = |password, clock| fake_tasmota::start(2, password, clock);
    Bench::of(password, start, |options| Arc::new(tasmota::Tasmota::new(options))).await
}

async fn sonoff_bench(version: fake_sonoff::Version) -> Bench {
    let start = |_, clock| fake_sonoff::start(version, clock);
    Bench::of(None, start, |options| Arc::new(sonoff::Sonoff::new(options, "", BRIEFLY))).await
}

/// What the board answers to a wrong password is not known, so its own test is below.
async fn dingtian_bench() -> Bench {
    let start = |_, clock| fake_dingtian::start(2, Some("1234".into()), clock);
    let driver = |options| -> Arc<dyn Relay> {
        let options = DeviceOptions { password: Some("1234".into()), inputs: 0, ..options };
        Arc::new(dingtian::Dingtian::new(options, dingtian::UNIT))
    };
    Bench::of(None, start, driver).await
}

async fn kmtronic_bench(password: Option<&'static str>) -> Bench {
    let start = |password, clock| fake_kmtronic::start(2, password, clock);
    let driver = |options| -> Arc<dyn Relay> {
        Arc::new(kmtronic::Kmtronic::new(DeviceOptions { inputs: 0, ..options }, BRIEFLY))
    };
    Bench::of(password, start, driver).await
}

async fn sr201_bench(timing: PulseTiming) -> Bench {
    let start = |_, clock| fake_sr201::start(2, clock);
    let driver =
        |options| -> Arc<dyn Relay> { Arc::new(sr201::Sr201::new(&DeviceOptions { inputs: 0, ..options }, timing)) };
    Bench { can_refuse: false, ..Bench::of(None, start, driver).await }
}

async fn laurent_bench(password: Option<&'static str>, timing: PulseTiming) -> Bench {
    let start = |password, clock| fake_laurent::start(2, password, clock);
    Bench::of(password, start, |options| Arc::new(laurent::Laurent::new(options, timing))).await
}

async fn template_bench(password: Option<&'static str>, pulse: bool) -> Bench {
    let registry = RelayRegistry::standard(SystemClock::shared());
    let driver = |options: DeviceOptions| -> Arc<dyn Relay> {
        let (host, port) = options.address.split_once(':').unwrap();
        let mut form: Vec<(&str, Secret)> = vec![
            ("host", host.into()),
            ("port", port.into()),
            ("on", "/r/{number}/on".into()),
            ("off", "/r/{number}/off".into()),
            ("status", "/r/{number}".into()),
            ("status_at", "/state".into()),
            ("on_text", "closed".into()),
            ("off_text", "open".into()),
            ("channels", "2".into()),
            ("timeout_ms", TIMEOUT.as_millis().to_string().into()),
        ];
        if let Some(password) = options.password {
            form.push(("password", password));
        }
        if pulse {
            form.push(("pulse", "/r/{number}/pulse?ms={ms}".into()));
        }
        let address = registry.spec("template").unwrap().address(form).unwrap();
        registry.open(&address.to_url()).unwrap()
    };
    Bench::of(password, |password, clock| fake_plain::start(2, password, clock), driver).await
}

godvision_core::relay_conformance!(shelly1_with_password, shelly1_bench(Some(PASSWORD)));
godvision_core::relay_conformance!(shelly1_without_password, shelly1_bench(None));
godvision_core::relay_conformance!(tasmota_with_password, tasmota_bench(Some(PASSWORD)));
godvision_core::relay_conformance!(tasmota_without_password, tasmota_bench(None));
godvision_core::relay_conformance!(sonoff_v1, sonoff_bench(fake_sonoff::Version::V1));
godvision_core::relay_conformance!(sonoff_v2, sonoff_bench(fake_sonoff::Version::V2));
godvision_core::relay_conformance!(dingtian_board, dingtian_bench());
godvision_core::relay_conformance!(kmtronic_with_password, kmtronic_bench(Some(PASSWORD)));
godvision_core::relay_conformance!(kmtronic_without_password, kmtronic_bench(None));
godvision_core::relay_conformance!(sr201_board_timer, sr201_bench(ANY_TIMER));
godvision_core::relay_conformance!(sr201_host_timer, sr201_bench(PulseTiming::Host));
godvision_core::relay_conformance!(laurent_with_password, laurent_bench(Some("Laurent"), PulseTiming::Host));
godvision_core::relay_conformance!(laurent_board_timer, laurent_bench(None, ANY_TIMER));
godvision_core::relay_conformance!(template_device_timer, template_bench(Some(PASSWORD), true));
godvision_core::relay_conformance!(template_host_timer, template_bench(None, false));

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_a_device_only_claims_is_not_believed() {
    for bench in [
        shelly1_bench(None).await,
        tasmota_bench(None).await,
        sonoff_bench(fake_sonoff::Version::V2).await,
        dingtian_bench().await,
        kmtronic_bench(None).await,
        sr201_bench(ANY_TIMER).await,
        laurent_bench(None, PulseTiming::Host).await,
        template_bench(None, true).await,
    ] {
        let driver = bench.relay.capabilities().driver;
        // Whose answer says nothing of the contact is asked afterwards, and the status may lag behind.
        let is_asked_afterwards = ["sonoff-diy", "dingtian", "kmtronic", "http-template"].contains(&driver);
        bench.device.spoil(fake::Spoil::Ignore);
        for result in [bench.relay.pulse(0, SECOND).await, bench.relay.set(0, Contact::On).await] {
            let error = result.expect_err(driver);
            assert_eq!(error.is_ambiguous(), is_asked_afterwards, "{driver}: {error:?}");
            assert!(is_asked_afterwards || matches!(error, RelayError::Rejected { .. }), "{driver}: {error:?}");
        }
        assert_eq!(bench.relay.status(0).await, Ok(Contact::Off), "{driver}");
    }
}

/// A device that takes commands for later (202): «refused» would leave its contact on with nobody to switch it off.
#[tokio::test]
async fn a_status_that_lags_behind_is_a_doubt() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut asked = 0;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let count = stream.read(&mut request).await.unwrap();
            let reply = if request[..count].starts_with(b"GET /status ") {
                asked += 1;
                let state = u8::from(asked > 1);
                format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n{state}")
            } else {
                "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
            };
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    let registry = RelayRegistry::standard(SystemClock::shared());
    let relay = registry.open(&format!("template://{address}/?on=/on&off=/off&status=/status").into()).unwrap();
    let error = relay.pulse(0, SECOND).await.unwrap_err();
    assert!(error.is_ambiguous() && error.is_temporary(), "{error:?}");
    assert_eq!(relay.status(0).await, Ok(Contact::On), "whoever asks again sees it");
    server.abort();
}

#[tokio::test]
async fn tasmota_keeps_its_pulse_time_so_that_a_button_and_a_power_cut_end_too() {
    let bench = tasmota_bench(None).await;
    bench.relay.pulse(0, SECOND * 3).await.unwrap();
    assert_eq!(bench.device.setting("PulseTime1"), 30);
    bench.clock.advance(SECOND * 4);
    bench.device.press(0, Contact::On);
    bench.clock.advance(SECOND * 4);
    assert_eq!(bench.device.contact(0), Contact::Off, "pressed on, and off again by itself");
    bench.relay.pulse(0, SECOND * 3).await.unwrap();
    bench.device.reboot();
    assert_eq!(bench.device.contact(0), Contact::On, "PowerOnState 3 restores it");
    bench.clock.advance(SECOND * 4);
    assert_eq!(bench.device.contact(0), Contact::Off);
    bench.relay.set(0, Contact::On).await.unwrap();
    assert_eq!(bench.device.setting("PulseTime1"), 0);
}

#[tokio::test]
async fn an_sr201_is_asked_over_one_connection_at_a_time_whoever_asks() {
    let device = fake_sr201::start(2, SystemClock::shared()).await.unwrap();
    let registry = RelayRegistry::standard(SystemClock::shared());
    // All but one of the board's connections are taken by somebody else.
    let mut others = Vec::new();
    for _ in 1..fake_sr201::CONNECTIONS_MAX {
        others.push(tokio::net::TcpStream::connect(device.address()).await.unwrap());
    }
    let url = Secret::new(format!("sr201://{}/?channels=2&timeout_ms=2000", device.address()));
    let (first, second) = (registry.open(&url).unwrap(), registry.open(&url).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..20_u8 {
        let relay = Arc::clone(if at % 2 == 0 { &first } else { &second });
        tasks.spawn(async move { relay.status(at % 2).await });
    }
    while let Some(result) = tasks.join_next().await {
        assert_eq!(result.unwrap(), Ok(Contact::Off));
    }
    others.push(tokio::net::TcpStream::connect(device.address()).await.unwrap());
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = first.status(0).await.unwrap_err();
    assert!(error.is_temporary(), "a full board is no reason to give up: {error:?}");
    drop(others);
}

#[tokio::test]
async fn a_wrong_dingtian_password_is_rejected_and_moves_nothing() {
    let device = fake_dingtian::start(1, Some("1234".into()), SystemClock::shared()).await.unwrap();
    let options = DeviceOptions { password: Some("4321".into()), ..DeviceOptions::new(device.address().to_string()) };
    let relay = dingtian::Dingtian::new(options, dingtian::UNIT);
    let error = relay.pulse(0, SECOND).await.unwrap_err();
    assert!(matches!(error, RelayError::Rejected { .. }) && !error.to_string().contains("4321"), "{error:?}");
    assert_eq!((device.contact(0), device.moves()), (Contact::Off, 0));
}

/// A device that says these things, one a connection, whatever it is told; and how many it was asked for.
async fn says(replies: Vec<Vec<u8>>) -> (DeviceOptions, tokio::task::JoinHandle<usize>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = DeviceOptions {
        timeout: Duration::from_secs(5),
        ..DeviceOptions::new(listener.local_addr().unwrap().to_string())
    };
    let server = tokio::spawn(async move {
        let mut asked = 0;
        for reply in replies {
            let accepted = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
            let Ok(Ok((mut stream, _))) = accepted else { break };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            let _ = stream.write_all(&reply).await;
            asked += 1;
            // Until the driver hangs up.
            while stream.read(&mut request).await.is_ok_and(|count| count > 0) {}
        }
        asked
    });
    (options, server)
}

fn http(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn an_old_tasmota_says_a_wrong_password_with_status_200() {
    let (options, _) = says(vec![http("200 OK", r#"{"WARNING":"Need user=<username>&password=<password>"}"#)]).await;
    let error = tasmota::Tasmota::new(options).status(0).await.unwrap_err();
    assert!(matches!(error, RelayError::AuthFailed { .. }), "{error:?}");
}

#[tokio::test]
async fn a_pulse_that_would_not_end_is_no_success() {
    let (options, _) = says(vec![http("200 OK", r#"{"ison":true,"has_timer":false}"#)]).await;
    let error = shelly1::Shelly1::new(options).pulse(0, SECOND).await.unwrap_err();
    assert!(matches!(error, RelayError::BadReply { .. }), "a firmware without timers: {error:?}");

    let power = http("200 OK", r#"{"POWER":"ON"}"#);
    let (options, server) = says(vec![http("200 OK", r#"{"PulseTime1":{"Set":0,"Remaining":0}}"#), power]).await;
    let error = tasmota::Tasmota::new(options).pulse(0, SECOND).await.unwrap_err();
    assert!(matches!(error, RelayError::Rejected { .. }), "the setting was not taken: {error:?}");
    assert_eq!(server.await.unwrap(), 1, "and the relay was not switched on");

    let (done, info) = (r#"{"error":0}"#, r#"{"error":0,"data":{"switch":"on","pulse":"on","pulseWidth":500}}"#);
    let (options, _) = says([done, done, info].map(|body| http("200 OK", body)).into()).await;
    let error = sonoff::Sonoff::new(options, "", BRIEFLY).pulse(0, SECOND).await.unwrap_err();
    assert!(matches!(error, RelayError::BadReply { .. }), "another width than it was told: {error:?}");
}

#[tokio::test]
async fn a_sonoff_is_told_a_pulse_once_unless_somebody_changes_it() {
    let bench = sonoff_bench(fake_sonoff::Version::V2).await;
    let paths = |from: usize| -> Vec<String> {
        let calls = bench.device.calls().split_off(from);
        calls.iter().map(|call| call.rsplit('/').next().unwrap().to_owned()).collect()
    };
    bench.relay.pulse(0, SECOND).await.unwrap();
    assert_eq!(paths(0), ["pulse", "switch", "info"]);
    bench.advance(SECOND * 2);
    bench.relay.pulse(0, SECOND).await.unwrap();
    assert_eq!(paths(3), ["switch", "info"], "what it has shown is not sent again");
    bench.advance(SECOND * 2);
    assert_eq!(bench.device.contact(0), Contact::Off);

    // On the device's own page.
    bench.device.store("pulse", 0);
    bench.device.store_pulse(0, None);
    bench.relay.pulse(0, SECOND).await.unwrap();
    assert_eq!(paths(5), ["switch", "info", "switch", "pulse", "switch", "info"]);
    bench.advance(SECOND * 2);
    assert_eq!(bench.device.contact(0), Contact::Off, "and ends all the same");

    bench.relay.set(0, Contact::On).await.unwrap();
    bench.relay.set(0, Contact::Off).await.unwrap();
    bench.relay.pulse(0, SECOND).await.unwrap();
    assert_eq!(paths(16).first().map(String::as_str), Some("pulse"), "switching on for good turned it off");

    bench.device.reboot();
    bench.relay.status(0).await.unwrap();
    let before = bench.device.calls().len();
    bench.relay.pulse(0, SECOND * 2).await.unwrap();
    assert_eq!(paths(before), ["pulse", "switch", "info"], "another width");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_a_server_error_leaves_open_what_was_done() {
    let elsewhere = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/relay/0\r\nContent-Length: 0\r\n\r\n".to_vec();
    let (options, server) = says(vec![elsewhere, http("500 Oops", "")]).await;
    let relay = shelly1::Shelly1::new(options);
    let error = relay.set(0, Contact::Off).await.unwrap_err();
    assert!(matches!(error, RelayError::Rejected { .. }), "{error:?}");
    let error = relay.set(0, Contact::Off).await.unwrap_err();
    assert!(error.is_ambiguous() && error.is_temporary(), "{error:?}");
    assert_eq!(server.await.unwrap(), 2);
}

#[tokio::test]
async fn a_device_that_talks_without_end_is_cut_off() {
    let chatter = b"#TIME,4711\r\n".repeat(laurent::LINES_MAX + 1);
    let one_line = vec![b'#'; laurent::BYTES_MAX + 1];
    let nine = b"100000000".to_vec();
    let (options, _) = says(vec![chatter, one_line]).await;
    let relay = laurent::Laurent::new(options, PulseTiming::Host);
    for expected in ["talks, but does not answer", "has no end"] {
        let error = relay.status(0).await.unwrap_err();
        assert!(error.is_ambiguous() && error.to_string().contains(expected), "{error}");
    }
    let (options, _) = says(vec![nine]).await;
    let error = sr201::Sr201::new(&options, ANY_TIMER).status(0).await.unwrap_err();
    assert!(error.is_ambiguous() && error.to_string().contains("has no end"), "{error}");
}

#[tokio::test]
async fn a_laurent_gets_its_password_once_a_connection_and_never_without_need() {
    let bench = laurent_bench(Some("Laurent"), PulseTiming::Host).await;
    bench.relay.pulse(0, SECOND).await.unwrap();
    let calls = bench.device.calls();
    assert_eq!(calls, ["PSW", "$KE,REL,1,1", "$KE,RDR,1"]);
    let open = laurent_bench(None, PulseTiming::Host).await;
    open.relay.status(1).await.unwrap();
    assert_eq!(open.device.calls(), ["$KE,RDR,2"]);
}

#[tokio::test]
async fn commands_in_a_row_do_not_use_up_a_boards_connections() {
    let bench = laurent_bench(Some("Laurent"), PulseTiming::Host).await;
    for _ in 0..50 {
        bench.relay.status(0).await.unwrap();
    }
    assert_eq!(bench.device.connections(), 50);
}

#[tokio::test]
async fn devices_that_want_a_rest_get_one() {
    let clock: Arc<dyn Clock> = SystemClock::shared();
    let device = fake_kmtronic::start(2, None, Arc::clone(&clock)).await.unwrap();
    let rest = Duration::from_millis(100);
    let relay = kmtronic::Kmtronic::new(DeviceOptions::new(device.address().to_string()), rest);
    let begun = clock.mono();
    relay.set(0, Contact::Off).await.unwrap();
    relay.status(0).await.unwrap();
    assert!(clock.mono() - begun >= rest * 2, "three requests, two rests");
}
