//! Our side, and the camera, each in a process of its own: `compare --child ROLE ...`.
//!
//! What is measured is what a user of the crates would write: [`Camera`], [`Fragmenter`], a [`Recorder`] into a
//! [`Spool`], a decoder and a [`MotionDetector`], joined by channels.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::time::Duration;

use godvision_core::signal::media::{Codec, Fragment, FrameKind, Packet, Plane};
use godvision_core::signal::seen::Motion;
use godvision_core::{MonoTime, Name, Stamp, WallTime};
use godvision_ftp::clip::{ClipOptions, RecordMode};
use godvision_ftp::io::recorder::Recorder;
use godvision_ftp::io::spool::{Spool, SpoolEvent, SpoolOptions};
use godvision_rtsp::decode::{self, Backend, DecodeOptions, Frames};
use godvision_rtsp::restream::{FilePlayer, RtspServer, ServerOptions};
use godvision_rtsp::{Camera, CameraEvent, CameraOptions, Fragmenter};
use godvision_vision::RgbImage;
use godvision_vision::face::search::{FaceIndex, SearchSpace};
use godvision_vision::face::{CHIP_SIDE, Embedding, FaceChip, FaceDetector, FaceEmbedder, SFace, YuNet, YuNetOptions};
use godvision_vision::motion::{MotionDetector, MotionOptions};
use godvision_vision::plane::LumaView;
use godvision_vision::plate::{PlateDetector, PlateOptions, PlateReader, RECOGNISER_FILE};
use godvision_vision::qr::{Lattice, QrDecoder, QrOptions, QrReader, Rqrr, Rxing};
use tokio::sync::mpsc;

use crate::clip::{FRAMES_PER_SECOND, HEIGHT, PLANES, WIDTH};
use crate::cpu;

/// Packets that wait for the detector before it loses some: analysis is what gives way.
const DETECTOR_QUEUE: usize = 64;
/// Recordings reach the disk so often.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Clips and the peers' segments are so long.
pub const CLIP_LENGTH: Duration = Duration::from_secs(10);

type Outcome = Result<(), Box<dyn Error>>;

/// Does what `arguments` say: `camera MAIN SUB COUNT`, `record OUT URL...`, `detect OUT rust|ffmpeg URL SUB_URL ...`,
/// `motion LUMA`, `read LUMA`, `qr ENGINE LUMA TEXTS`, `plates all|find|read MODELS IMAGE`, `faces find320|find640|embed`,
/// `search ROWS`, `decode FILE all|key|bare|ffmpeg`.
///
/// # Errors
/// Whatever goes wrong, in words.
pub fn run(arguments: &[String]) -> Outcome {
    let (role, rest) = arguments.split_first().ok_or("--child needs a role")?;
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (role.as_str(), rest.as_slice()) {
        ("camera", [main, sub, count]) => camera(Path::new(main), Path::new(sub), count.parse()?),
        ("record", [out, urls @ ..]) => {
            record(Path::new(out), &urls.iter().map(|url| (*url, None)).collect::<Vec<_>>(), Backend::Rust)
        }
        ("detect", [out, decoder, urls @ ..]) => {
            let pairs: Vec<_> = urls.chunks_exact(2).map(|pair| (pair[0], Some(pair[1]))).collect();
            record(Path::new(out), &pairs, backend(decoder))
        }
        ("motion", [luma]) => motion(Path::new(luma)),
        ("read", [luma]) => read(Path::new(luma)),
        ("qr", [engine, luma, texts]) => qr(engine, Path::new(luma), Path::new(texts)),
        ("plates", [what, models, image]) => plates(what, Path::new(models), Path::new(image)),
        ("faces", [what]) => faces(what),
        ("search", [rows]) => search(rows.parse()?),
        ("decode", [file, mode]) => decode(Path::new(file), mode),
        _ => Err(format!("no such child: {arguments:?}").into()),
    }
}

/// Finds and reads the plate of one image, over and over.
fn plates(what: &str, models: &Path, image: &Path) -> Outcome {
    /// Unmeasured, then measured.
    const WARM_UP: usize = 3;
    const RUNS: usize = 21;
    let image = image::open(image)?.to_luma8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    let luma = LumaView::new(image.as_raw(), width, height, width)?;
    let large = vec![100; 1920 * 1080];
    let large = LumaView::new(&large, 1920, 1080, 1920)?;
    let recogniser = fs::read(models.join(RECOGNISER_FILE))?;
    let mut reader = PlateReader::new(PlateOptions::default(), recogniser)?;
    let mut detector = PlateDetector::new(0.5)?;
    let place = *detector.find(luma, &[])?.first().ok_or("the plate was not found")?;
    let mut nanos = Vec::new();
    for run in 0..WARM_UP + RUNS {
        let start = cpu::of_this_process()?;
        match what {
            "find" => drop(black_box(detector.find(large, &[])?)),
            "read" => drop(black_box(reader.read_at(luma, place)?)),
            _ => drop(black_box(reader.read(luma, &[])?)),
        }
        if run >= WARM_UP {
            nanos.push(cpu::of_this_process()?.saturating_sub(start).as_nanos());
        }
    }
    nanos.sort_unstable();
    println!("{} {what}", nanos[RUNS / 2]);
    Ok(())
}

/// Finds faces in one picture, or makes an embedding of one face, over and over.
fn faces(what: &str) -> Outcome {
    /// Unmeasured, then measured.
    const WARM_UP: usize = 5;
    const RUNS: usize = 41;
    let side = if what == "find640" { 640 } else { 320 };
    let mut detector = YuNet::new(YuNetOptions { side, ..YuNetOptions::default() })?;
    let mut embedder = SFace::new()?;
    let pattern =
        |side: usize| -> Vec<u8> { (0..side * side * 3).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect() };
    let picture = RgbImage::new(pattern(side), side, side)?;
    let chip = FaceChip::from_pixels(&pattern(CHIP_SIDE))?;
    let mut nanos = Vec::new();
    for run in 0..WARM_UP + RUNS {
        let start = cpu::of_this_process()?;
        match what {
            "embed" => drop(black_box(embedder.embed(&chip)?)),
            _ => drop(black_box(detector.find(picture.view())?)),
        }
        if run >= WARM_UP {
            nanos.push(cpu::of_this_process()?.saturating_sub(start).as_nanos());
        }
    }
    nanos.sort_unstable();
    println!("{} {what}", nanos[RUNS / 2]);
    Ok(())
}

/// Searches a gallery of random faces for the ten nearest.
fn search(rows: u64) -> Outcome {
    /// Unmeasured, then measured.
    const WARM_UP: usize = 20;
    const RUNS: usize = 201;
    let mut state = 88_172_645_463_325_252_u64;
    let mut face = || {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 24) as f32
        };
        // Nearly normal, so that directions are spread evenly.
        Embedding::new(&(0..128).map(|_| (0..6).map(|_| next()).sum::<f32>() - 3.0).collect::<Vec<_>>())
    };
    let mut index = FaceIndex::new(128)?;
    for key in 0..rows {
        index.insert(key, &face()?)?;
    }
    let mut space = SearchSpace::default();
    let mut nanos = Vec::new();
    for run in 0..WARM_UP + RUNS {
        let query = face()?;
        let start = cpu::of_this_process()?;
        black_box(index.search(&query, 10, &mut space)?);
        if run >= WARM_UP {
            nanos.push(cpu::of_this_process()?.saturating_sub(start).as_nanos());
        }
    }
    nanos.sort_unstable();
    println!("{} search", nanos[RUNS / 2]);
    Ok(())
}

fn backend(name: &str) -> Backend {
    match name {
        #[cfg(feature = "ffmpeg")]
        "ffmpeg" => Backend::Ffmpeg,
        _ => Backend::Rust,
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Resolves when standard input ends: the parent wants an end, or is gone.
async fn end_of_input() {
    let (told, mut telling) = mpsc::channel::<()>(1);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().by_ref(), &mut std::io::sink());
        drop(told);
    });
    telling.recv().await;
}

/// `COUNT` cameras, `/main0` and `/sub0` and so on, each a little later than the one before, as cameras are.
fn camera(main: &Path, sub: &Path, count: usize) -> Outcome {
    let player = |path: &Path| -> Result<FilePlayer, Box<dyn Error>> {
        let file = fs::read(path)?;
        Ok(FilePlayer::from_annex_b(Name::new("camera")?, Codec::H264, &file, FRAMES_PER_SECOND)?)
    };
    let players = Arc::new([player(main)?, player(sub)?]);
    runtime()?.block_on(async {
        let server = RtspServer::bind(ServerOptions::new("127.0.0.1:0".parse()?)).await?;
        for index in 0..count {
            for (which, kind) in ["main", "sub"].into_iter().enumerate() {
                let (mount, players) = (server.mount(&format!("/{kind}{index}"))?, Arc::clone(&players));
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(137 * index as u64)).await;
                    players[which].play(&mount).await;
                });
            }
        }
        fs::write(std::env::var("GODVISION_READY")?, server.url(""))?;
        end_of_input().await;
        Ok(())
    })
}

enum Said {
    Fragment(Fragment),
    Motion(Motion),
}

/// Records every camera; those with a sub-stream only while something moves in it.
fn record(out: &Path, cameras: &[(&str, Option<&str>)], backend: Backend) -> Outcome {
    let (spool, _) = Spool::open(out, SpoolOptions::default())?;
    let spool = Arc::new(spool);
    // As long as the peers' segments, so that finishing a clip (sync, checksum, manifest) is in the figure.
    let options = ClipOptions { length_max: CLIP_LENGTH, ..ClipOptions::default() };
    let recorders = cameras
        .iter()
        .map(|(_, sub)| {
            let mode = if sub.is_some() { RecordMode::OnMotion } else { RecordMode::Always };
            Recorder::new(Arc::clone(&spool), options, mode)
        })
        .collect();
    let (to_disk, batches) = blocking::sync_channel::<Vec<(usize, Said)>>(8);
    let disk = std::thread::spawn(move || write(recorders, &batches));
    let (to_detector, packets) = blocking::sync_channel::<(usize, Packet)>(DETECTOR_QUEUE);
    let (from_detector, mut motions) = mpsc::unbounded_channel();
    let count = cameras.len();
    let detector = std::thread::spawn(move || detect(count, backend, &packets, &from_detector));
    let (frames, moved) = runtime()?.block_on(async {
        let (said, mut hear) = mpsc::channel(1024);
        for (index, (url, sub)) in cameras.iter().enumerate() {
            tokio::spawn(fragments(index, connect(index, url)?, said.clone()));
            if let Some(sub) = sub {
                tokio::spawn(pictures(index, connect(index, sub)?, to_detector.clone()));
            }
        }
        drop(to_detector);
        let mut tick = tokio::time::interval(FLUSH_EVERY);
        let (mut batch, mut frames, mut moved) = (Vec::new(), 0u64, 0u64);
        let end = end_of_input();
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                Some((index, fragment)) = hear.recv() => {
                    frames += 1;
                    batch.push((index, Said::Fragment(fragment)));
                }
                Some((index, motion)) = motions.recv() => {
                    moved += 1;
                    batch.push((index, Said::Motion(motion)));
                }
                _ = tick.tick() => to_disk.send(std::mem::take(&mut batch))?,
            }
        }
        to_disk.send(batch)?;
        Ok::<_, Box<dyn Error>>((frames, moved))
    })?;
    drop(to_disk);
    let faults = disk.join().map_err(|_| "the disk thread panicked")?;
    let counted = detector.join().map_err(|_| "the detector panicked")?;
    println!("{frames} fragments, {counted} pictures, {moved} motions, {} faults: {faults:?}", faults.len());
    Ok(())
}

fn connect(index: usize, url: &str) -> Result<Camera, Box<dyn Error>> {
    Ok(Camera::connect(CameraOptions::new(Name::new(&format!("yard/camera{index}"))?, url.parse()?)))
}

async fn fragments(index: usize, mut camera: Camera, said: mpsc::Sender<(usize, Fragment)>) {
    let mut fragmenter = Fragmenter::new();
    loop {
        if let CameraEvent::Packet(packet) = camera.next().await
            && let Some(fragment) = fragmenter.push(&packet)
            && said.send((index, fragment)).await.is_err()
        {
            return;
        }
    }
}

async fn pictures(index: usize, mut camera: Camera, to_detector: blocking::SyncSender<(usize, Packet)>) {
    loop {
        if let CameraEvent::Packet(packet) = camera.next().await
            && matches!(to_detector.try_send((index, packet)), Err(blocking::TrySendError::Disconnected(_)))
        {
            return;
        }
    }
}

/// The thread that owns the disk. Gives back what went wrong.
fn write(mut recorders: Vec<Recorder>, batches: &blocking::Receiver<Vec<(usize, Said)>>) -> Vec<SpoolEvent> {
    let (mut events, mut faults) = (Vec::new(), Vec::new());
    while let Ok(batch) = batches.recv() {
        for (index, said) in batch {
            match said {
                Said::Fragment(fragment) => recorders[index].fragment(fragment, &mut events),
                Said::Motion(motion) => recorders[index].motion(&motion, &mut events),
            }
        }
        recorders.iter_mut().for_each(|recorder| recorder.flush(&mut events));
        faults.extend(events.drain(..).filter(is_fault));
    }
    recorders.iter_mut().for_each(|recorder| recorder.finish(&mut events));
    faults.extend(events.drain(..).filter(is_fault));
    faults
}

fn is_fault(event: &SpoolEvent) -> bool {
    !matches!(event, SpoolEvent::Opened(_) | SpoolEvent::Closed(_))
}

/// Decodes and looks at every packet of the sub-streams. Gives back how many pictures there were.
fn detect(
    count: usize,
    backend: Backend,
    packets: &blocking::Receiver<(usize, Packet)>,
    motions: &mpsc::UnboundedSender<(usize, Motion)>,
) -> u64 {
    let mut eyes: Vec<_> = (0..count).map(|_| (None, None)).collect();
    let (mut pictures, mut seen) = (Vec::new(), 0);
    while let Ok((index, packet)) = packets.recv() {
        let (decoder, detector) = &mut eyes[index];
        let decoder = decoder.get_or_insert_with(|| {
            decode::open(&packet.format, DecodeOptions { backend, ..DecodeOptions::default() })
                .expect("a decoder for H.264")
        });
        if let Err(error) = decoder.decode(&packet, &mut pictures) {
            eprintln!("camera {index}: {error}");
        }
        for picture in pictures.drain(..) {
            seen += 1;
            let view = LumaView::of(&picture.luma).expect("a whole plane");
            let detector = detector.get_or_insert_with(|| {
                MotionDetector::new(MotionOptions::default(), view.width(), view.height()).expect("a supported size")
            });
            let report = detector.step(view, picture.at, picture.sequence).expect("the same size");
            let Some(step) = report.step else { continue };
            let motion = Motion {
                source: picture.source,
                event: step.event,
                phase: step.phase,
                at: step.at,
                sequence: step.sequence,
                regions: report.boxes().iter().map(|found| found.region).collect(),
                zones: Vec::new(),
                share: report.share(),
                mask: None,
            };
            if motions.send((index, motion)).is_err() {
                return seen;
            }
        }
    }
    seen
}

/// Prints nanoseconds of CPU time a frame, one line a measurement, the name after it.
fn report(name: &str, frames: usize, work: impl FnOnce()) -> Outcome {
    let start = cpu::of_this_process()?;
    work();
    let used = cpu::of_this_process()?.saturating_sub(start);
    println!("{} {name}", used.as_nanos() / frames.max(1) as u128);
    Ok(())
}

/// Prints CPU time a frame and the number of exact reads.
fn qr(engine: &str, luma: &Path, texts: &Path) -> Outcome {
    let (planes, texts) = (fs::read(luma)?, fs::read_to_string(texts)?);
    let mut engine: Option<Box<dyn QrDecoder>> = match engine {
        "reader" => None,
        "lattice" => Some(Box::new(Lattice::default())),
        "rxing" => Some(Box::new(Rxing::default())),
        "rqrr" => Some(Box::new(Rqrr)),
        other => return Err(format!("no such engine: {other}").into()),
    };
    let mut reader = QrReader::new(QrOptions::default());
    let mut look = |plane: &[u8], index: usize| -> Result<Vec<String>, Box<dyn Error>> {
        let view = LumaView::new(plane, WIDTH, HEIGHT, WIDTH)?;
        let texts = match &mut engine {
            Some(engine) => {
                let mut found = Vec::new();
                engine.decode(view, &mut found);
                found.into_iter().map(|code| code.text).collect()
            }
            None => {
                // So far apart that where the last code was means nothing.
                let millis = index as u64 * 10_000;
                let at = Stamp::new(MonoTime::from_millis(millis), WallTime::from_unix_millis(millis as i64));
                reader.read(view, at, &[]).into_iter().map(|sighting| sighting.text).collect::<Vec<_>>()
            }
        };
        Ok(texts.into_iter().map(|text| text.expose().to_owned()).collect())
    };
    let planes: Vec<&[u8]> = planes.chunks_exact(WIDTH * HEIGHT).collect();
    look(planes.first().ok_or("no frame")?, 0)?;
    let (mut reads, start) = (0, cpu::of_this_process()?);
    for (index, (plane, text)) in planes.iter().zip(texts.lines()).enumerate() {
        reads += usize::from(look(plane, index + 1)?.iter().any(|found| found == text));
    }
    let nanos = (cpu::of_this_process()? - start).as_nanos() / planes.len() as u128;
    println!("{nanos} {reads}");
    Ok(())
}

/// The whole motion stage on 1080p luma, all steps to boxes.
fn motion(luma: &Path) -> Outcome {
    const ROUNDS: usize = 25;
    let planes = fs::read(luma)?;
    let views: Vec<_> = planes.chunks_exact(WIDTH * HEIGHT).take(PLANES).collect();
    let mut detector = MotionDetector::new(MotionOptions::default(), WIDTH, HEIGHT)?;
    let mut number = 0u64;
    let mut look = |plane: &[u8]| {
        number += 1;
        let at = Stamp::new(MonoTime::from_millis(number * 40), WallTime::from_unix_millis(number as i64 * 40));
        let view = LumaView::new(plane, WIDTH, HEIGHT, WIDTH).expect("a whole plane");
        black_box(detector.step(view, at, number).expect("the same size").share());
    };
    // To and fro, so that the loop has no jump which would be a change of scene.
    let order: Vec<usize> = (0..views.len()).chain((0..views.len()).rev()).collect();
    order.iter().for_each(|index| look(views[*index]));
    report("motion", ROUNDS * order.len(), || {
        for _ in 0..ROUNDS {
            order.iter().for_each(|index| look(views[*index]));
        }
    })
}

/// Reads the planes of [`motion`] in the same order and sums their bytes' words: what the memory takes.
fn read(luma: &Path) -> Outcome {
    const ROUNDS: usize = 25;
    let planes = fs::read(luma)?;
    let views: Vec<_> = planes.chunks_exact(WIDTH * HEIGHT).take(PLANES).collect();
    let order: Vec<usize> = (0..views.len()).chain((0..views.len()).rev()).collect();
    let sum = |plane: &[u8]| {
        let mut lanes = [0_u64; 8];
        for line in plane.as_chunks::<64>().0 {
            for (lane, word) in lanes.iter_mut().zip(line.as_chunks().0) {
                *lane = lane.wrapping_add(u64::from_ne_bytes(*word));
            }
        }
        black_box(lanes);
    };
    order.iter().for_each(|index| sum(views[*index]));
    report("read", ROUNDS * order.len(), || {
        for _ in 0..ROUNDS {
            order.iter().for_each(|index| sum(views[*index]));
        }
    })
}

fn decode(file: &Path, mode: &str) -> Outcome {
    let player = FilePlayer::from_annex_b(Name::new("camera")?, Codec::H264, &fs::read(file)?, FRAMES_PER_SECOND)?;
    let packets: Vec<Packet> = (0..player.frames() as u64).map(|n| player.packet(n, Stamp::default())).collect();
    if mode == "bare" {
        return decode_bare(&packets);
    }
    let frames = if mode == "key" { Frames::KeyOnly } else { Frames::All };
    let backend = backend(mode);
    let options = DecodeOptions { frames, backend, ..DecodeOptions::default() };
    let mut decoder = decode::open(&packets[0].format, options)?;
    let (mut pictures, mut given) = (Vec::new(), 0);
    report("decode", packets.len(), || {
        for packet in &packets {
            decoder.decode(packet, &mut pictures).expect("a good stream");
            given += pictures.drain(..).inspect(|picture| touch(&picture.luma)).count();
        }
        decoder.finish(&mut pictures);
        given += pictures.len();
    })?;
    let expected = packets.iter().filter(|it| frames == Frames::All || it.kind == FrameKind::Key).count();
    if given != expected { Err(format!("{given} pictures of {expected}").into()) } else { Ok(()) }
}

fn touch(plane: &Plane) {
    black_box(plane.row(plane.height / 2)[plane.width / 2]);
}

/// The same decoder without our facade.
fn decode_bare(packets: &[Packet]) -> Outcome {
    use godvision_rtsp::nal::{ParameterSets, push_unit};
    let mut decoder = rust_h264::decoder::Decoder::new();
    let mut sets = Vec::new();
    ParameterSets::from_config(Codec::H264, &packets[0].format.config)?
        .iter()
        .for_each(|set| push_unit(&mut sets, set));
    let mut given = 0;
    report("decode", packets.len(), || {
        for data in std::iter::once(&sets[..]).chain(packets.iter().map(|packet| &packet.data[..])) {
            for unit in rust_h264::nal::parse_avcc(data, 4) {
                given += usize::from(black_box(decoder.decode_nal(&unit).expect("a good stream")).is_some());
            }
        }
        given += usize::from(black_box(decoder.flush()).is_some());
    })?;
    if given == packets.len() { Ok(()) } else { Err(format!("{given} pictures of {}", packets.len()).into()) }
}

/// This program, told to be a child.
///
/// # Errors
/// The system does not say where this program is.
pub fn command(role: &str) -> std::io::Result<std::process::Command> {
    let program: PathBuf = std::env::current_exe()?;
    let mut command = std::process::Command::new(program);
    command.args(["--child", role]);
    Ok(command)
}
