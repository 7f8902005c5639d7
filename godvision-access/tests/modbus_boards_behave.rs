//! Modbus boards over TCP, RTU over TCP and a serial line: the behaviour suite, and what only this wire can get wrong.

mod board_bench;

use std::sync::Arc;
use std::time::Duration;

use board_bench::{BoardBench, TIMEOUT, board};
use godvision_access::relay::RelayRegistry;
use godvision_access::relay::fake_board::Spoil;
use godvision_access::relay::fake_modbus::{FakeModbus, Wire};
use godvision_access::relay::modbus::{Board, Modbus, ModbusOptions, Place};
use godvision_core::SystemClock;
use godvision_core::driver::relay::{Contact, PulseTiming, Relay, RelayError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn start(wire: Wire, commands: Board) -> BoardBench<FakeModbus> {
    let (clock, board) = board(8, 3);
    let device = FakeModbus::start(Arc::clone(&board), wire).await.unwrap();
    let address = device.address().to_string();
    let place = if wire == Wire::Tcp { Place::Tcp(address) } else { Place::RtuOverTcp(address) };
    let relay = driver(place, commands, 8, 3);
    BoardBench { clock, board, device, relay, wrong: None, password: None, can_refuse: true }
}

fn driver(place: Place, board: Board, channels: u8, inputs: u8) -> Arc<Modbus> {
    Arc::new(Modbus::new(ModbusOptions { board, channels, inputs, timeout: TIMEOUT, ..ModbusOptions::new(place) }))
}

godvision_core::relay_conformance!(modbus_tcp_waveshare, start(Wire::Tcp, Board::Waveshare));
godvision_core::relay_conformance!(modbus_tcp_standard, start(Wire::Tcp, Board::Standard));
godvision_core::relay_conformance!(modbus_rtu_over_tcp_waveshare, start(Wire::Rtu, Board::Waveshare));

#[tokio::test]
async fn waveshare_times_the_pulse_in_tenths_of_a_second() {
    let bench = start(Wire::Rtu, Board::Waveshare).await;
    let PulseTiming::Device { max, .. } = bench.relay.capabilities().pulse else { panic!() };
    assert_eq!(max, Duration::from_millis(3_276_700));
    bench.relay.pulse(5, Duration::from_millis(701)).await.unwrap();
    bench.clock.advance(Duration::from_millis(799));
    assert_eq!(bench.board.contact(5), Contact::On, "rounded up to 800 ms");
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.board.contact(5), Contact::Off);
}

#[tokio::test]
async fn a_board_with_fewer_contacts_than_configured_refuses() {
    let bench = start(Wire::Tcp, Board::Waveshare).await;
    let relay = driver(Place::Tcp(bench.device.address().to_string()), Board::Standard, 9, 4);
    for result in [relay.status(0).await, relay.input(0).await, relay.set(8, Contact::On).await.map(|()| Contact::On)] {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("illegal data address"), "{error}");
        assert!(matches!(error, RelayError::Rejected { .. }));
    }
}

/// RTU frames carry no number, and a gateway passes a late reply on to whoever is connected then: nobody may be.
#[tokio::test]
async fn a_late_reply_through_a_gateway_finds_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = Place::RtuOverTcp(listener.local_addr().unwrap().to_string());
    let relay = Arc::new(Modbus::new(ModbusOptions { channels: 8, timeout: TIMEOUT, ..ModbusOptions::new(place) }));
    let mut request = [0; 8];
    let asking = tokio::spawn({
        let relay = Arc::clone(&relay);
        async move { relay.status(0).await }
    });
    let (mut first, _) = listener.accept().await.unwrap();
    first.read_exact(&mut request).await.unwrap();
    asking.abort();
    let gateway = async {
        let early = tokio::time::timeout(TIMEOUT / 2, listener.accept()).await;
        assert!(early.is_err(), "the reply to the first question may still come");
        let (mut second, _) = listener.accept().await.unwrap();
        second.read_exact(&mut request).await.unwrap();
        second.write_all(&[1, 1, 1, 0, 0x51, 0x88]).await.unwrap();
        second
    };
    let (status, _second) = tokio::join!(relay.status(0), gateway);
    assert_eq!(status, Ok(Contact::Off));
}

/// Two boards behind one gateway or on one line: asked at once, their frames would run into one another.
#[tokio::test]
async fn boards_on_one_line_take_turns() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let registry = RelayRegistry::standard(SystemClock::shared());
    let open = |unit: u8| registry.open(&format!("modbus+rtutcp://{address}?unit={unit}").as_str().into()).unwrap();
    let (one, two) = (open(1), open(2));
    let gateway = async {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            let other = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
            assert!(other.is_err(), "the other board is asked meanwhile");
            let off: [u8; 6] = if request[0] == 1 { [1, 1, 1, 0, 0x51, 0x88] } else { [2, 1, 1, 0, 0x51, 0xCC] };
            stream.write_all(&off).await.unwrap();
        }
    };
    let (first, second, ()) = tokio::join!(one.status(0), two.status(0), gateway);
    assert_eq!((first, second), (Ok(Contact::Off), Ok(Contact::Off)));
}

/// What each exception of the specification means for a door: refused for good, wait, or perhaps carried out.
#[tokio::test]
async fn exceptions_say_whether_to_try_again() {
    for (code, is_temporary, is_ambiguous) in
        [(1, false, false), (4, false, false), (5, true, true), (6, true, false), (10, true, false), (11, true, true)]
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = driver(Place::Tcp(listener.local_addr().unwrap().to_string()), Board::Standard, 1, 0);
        let device = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 12];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(&[request[0], request[1], 0, 0, 0, 3, 1, 0x85, code]).await.unwrap();
        };
        let (result, ()) = tokio::join!(relay.pulse(0, Duration::from_secs(1)), device);
        let error = result.unwrap_err();
        assert_eq!((error.is_temporary(), error.is_ambiguous()), (is_temporary, is_ambiguous), "{code}: {error}");
    }
}

#[test]
fn addresses() {
    let registry = RelayRegistry::standard(SystemClock::shared());
    let capabilities = |url: &str| registry.open(&url.into()).map(|relay| relay.capabilities().clone());
    let board = capabilities("modbus+tcp://10.0.0.5:502/?unit=1&channels=8&inputs=4&board=waveshare").unwrap();
    assert_eq!((board.driver, board.channels, board.inputs), ("modbus-waveshare", 8, 4));
    assert_eq!(capabilities("modbus+rtu:///dev/ttyUSB0?baud=9600&unit=247").unwrap().pulse, PulseTiming::Host);
    assert_eq!(capabilities("modbus+tcp://10.0.0.5/?unit=255").unwrap().driver, "modbus");
    for url in [
        "modbus+tcp:///?unit=1",
        "modbus+tcp://h/?unit=248",
        "modbus+rtutcp://h/?unit=0",
        "modbus+rtu://h/dev/ttyUSB0",
        "modbus+rtu:///dev/ttyUSB0?baud=50",
        "modbus+tcp://h/?board=best",
        "modbus+tcp://h/?inputs=65",
        "modbus+tcp://h/?first_coil=65536",
        "modbus+tcp://h/?speed=1",
        "modbus+tcp://user:hunter2@h/",
    ] {
        let error = registry.open(&url.into()).err().expect(url);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[cfg(target_os = "linux")]
mod serial {
    use super::*;
    use godvision_access::relay::fake_modbus;
    use std::fs::File;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::path::PathBuf;

    /// A board at the far end of a pseudo-terminal, found through a link as udev makes them.
    struct Line {
        folder: PathBuf,
        _near: OwnedFd,
        server: tokio::task::JoinHandle<()>,
    }

    impl Drop for Line {
        fn drop(&mut self) {
            self.server.abort();
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    /// A pseudo-terminal: the board's end, the driver's end, and the path of the latter.
    fn pair() -> (tokio::fs::File, OwnedFd, PathBuf) {
        let pair = nix::pty::openpty(None, None).unwrap();
        let path = std::fs::read_link(format!("/proc/self/fd/{}", pair.slave.as_raw_fd())).unwrap();
        (tokio::fs::File::from_std(File::from(pair.master)), pair.slave, path)
    }

    fn start(name: &str) -> BoardBench<Line> {
        let (clock, board) = board(8, 2);
        let (far, near, path) = pair();
        let folder = std::env::temp_dir().join(format!("godvision-line-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let link = folder.join("relay-board");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(path, &link).unwrap();
        let served = Arc::clone(&board);
        let server = tokio::spawn(async move {
            fake_modbus::serve(served, Wire::Rtu, far).await;
        });
        let relay = driver(Place::Serial { path: link, baud: 115_200 }, Board::Waveshare, 8, 2);
        BoardBench {
            clock,
            board,
            device: Line { folder, _near: near, server },
            relay,
            wrong: None,
            password: None,
            can_refuse: true,
        }
    }

    #[tokio::test]
    async fn a_board_on_a_line_is_pulsed_and_read() {
        let bench = start("pulse");
        bench.relay.pulse(3, Duration::from_secs(3)).await.unwrap();
        assert_eq!(bench.relay.status(3).await, Ok(Contact::On));
        assert_eq!(bench.relay.status(2).await, Ok(Contact::Off));
        bench.clock.advance(Duration::from_secs(3));
        assert_eq!(bench.relay.status(3).await, Ok(Contact::Off));
        bench.board.close_input(1, Contact::On);
        assert_eq!((bench.relay.input(0).await, bench.relay.input(1).await), (Ok(Contact::Off), Ok(Contact::On)));
        let (first, second) = tokio::join!(bench.relay.set(0, Contact::On), bench.relay.status(7));
        assert_eq!((first, second), (Ok(()), Ok(Contact::Off)));
    }

    #[tokio::test]
    async fn silence_and_garbage_are_errors_and_heal() {
        let bench = start("spoiled");
        bench.board.spoil(Spoil::Silence);
        let error = bench.relay.pulse(0, Duration::from_secs(3)).await.unwrap_err();
        assert!(matches!(error, RelayError::Timeout { .. }), "{error:?}");
        bench.board.spoil(Spoil::Garbage);
        let error = bench.relay.status(0).await.unwrap_err();
        assert!(matches!(error, RelayError::BadReply { .. }), "{error:?}");
        bench.board.spoil(Spoil::Refuse);
        let error = bench.relay.status(0).await.unwrap_err();
        assert!(matches!(error, RelayError::Rejected { .. }), "{error:?}");
        bench.board.spoil(Spoil::Nothing);
        assert_eq!(bench.relay.status(0).await, Ok(Contact::On), "the first pulse was carried out unseen");
    }

    /// RTU replies carry no number: the late reply to a dropped question must not answer the next one.
    #[tokio::test]
    async fn a_late_reply_answers_nothing() {
        let (mut far, _near, path) = pair();
        let relay = driver(Place::Serial { path, baud: 115_200 }, Board::Standard, 8, 0);
        let mut request = [0; 8];
        let dropped = tokio::time::timeout(Duration::from_millis(60), relay.status(0)).await;
        assert!(dropped.is_err());
        far.read_exact(&mut request).await.unwrap();
        let says_on = [1, 1, 1, 1, 0x90, 0x48];
        let says_off = [1, 1, 1, 0, 0x51, 0x88];
        let board = async {
            tokio::time::sleep(Duration::from_millis(40)).await;
            far.write_all(&says_on).await.unwrap();
            far.read_exact(&mut request).await.unwrap();
            far.write_all(&says_off).await.unwrap();
        };
        let (status, ()) = tokio::join!(relay.status(0), board);
        assert_eq!(status, Ok(Contact::Off), "the answer to the second question");
    }

    #[tokio::test]
    async fn a_line_that_is_not_there_is_unreachable() {
        let relay = driver(Place::Serial { path: "/dev/no-such-line".into(), baud: 9600 }, Board::Standard, 1, 0);
        let error = relay.set(0, Contact::Off).await.unwrap_err();
        assert!(matches!(error, RelayError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains("/dev/no-such-line"), "{error}");
    }
}
