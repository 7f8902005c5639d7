//! Measures how long each sensor holds a picture, on this machine and with your pictures:
//! `service_times [--models FOLDER] [--seconds N] FILE...`.
//!
//! Shows every file to every unit on a bus of its own, five times a second (motion: 25 times) with a little noise, and
//! prints unit, file, pictures, mean and standard deviation in milliseconds, separated by tabs. These are the figures of
//! `Unit::profile`, by which a design check reckons. `plate` is left out without its model folder.
//! What to read next: `godvision_core::bus::service`.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use godvision_core::bus::{
    Component, Context, Fault, Host, HostOptions, Kind, ParamError, Params, PortSpec, Registry, Unit, UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::signal::media::{Picture, Plane};
use godvision_core::site::SiteDocument;
use godvision_core::{Name, Stamp};
use godvision_vision::face::enrol::FaceEnroller;
use godvision_vision::face::gallery::Gallery;
use godvision_vision::face::memory::FaceMemory;
use godvision_vision::plate::RECOGNISER_FILE;
use godvision_vision::sensors::{FaceUnit, MotionUnit, PlateUnit, QrUnit};

/// Noise that is laid over a file, so that no two pictures are the same.
const NOISES: usize = 8;

struct Film {
    spec: UnitSpec,
    shown: Arc<Shown>,
}

struct Shown {
    pictures: Vec<(Plane, [Plane; 2])>,
    every: Duration,
}

impl Unit for Film {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(Showing(Arc::clone(&self.shown))))
    }
}

struct Showing(Arc<Shown>);

impl Component for Showing {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let out = cx.output::<Picture>("pictures")?;
            let stopping = cx.stopping();
            let shown = self.0.pictures.iter().cycle().zip(0_u64..);
            for ((luma, chroma), sequence) in shown {
                if stopping.is_set() {
                    break;
                }
                let at: Stamp = cx.now();
                let (source, luma, chroma) = (cx.name().clone(), luma.clone(), Some(chroma.clone()));
                out.send(Picture { source, sequence, session: 0, at, luma, chroma });
                tokio::time::sleep(self.0.every).await;
            }
            Ok(())
        })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut models, mut seconds, mut files) = (PathBuf::from("models"), 20_u64, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--models" => models = arguments.next().ok_or("--models wants a folder")?.into(),
            "--seconds" => seconds = arguments.next().ok_or("--seconds wants a number")?.parse()?,
            _ => files.push(PathBuf::from(argument)),
        }
    }
    if files.is_empty() {
        return Err("which pictures? service_times [--models FOLDER] [--seconds N] FILE...".into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    for file in &files {
        let image = image::open(file)?.to_rgb8();
        for unit in ["motion", "qr", "face", "plate"] {
            if unit == "plate" && !models.join(RECOGNISER_FILE).is_file() {
                eprintln!("plate: no {RECOGNISER_FILE} in {}", models.display());
                continue;
            }
            let every = Duration::from_millis(if unit == "motion" { 40 } else { 200 });
            let shown = Shown {
                pictures: (0..NOISES).map(|seed| planes(&image, seed as u32)).collect::<Result<_, _>>()?,
                every,
            };
            let run = measure(unit, &models, shown, Duration::from_secs(seconds));
            let (count, mean, deviation) = runtime.block_on(run)?;
            println!("{unit}\t{}\t{count}\t{mean:.2}\t{deviation:.2}", file.display());
        }
    }
    Ok(())
}

/// Pictures, mean and deviation in milliseconds.
async fn measure(
    unit: &str,
    models: &std::path::Path,
    shown: Shown,
    length: Duration,
) -> Result<(u64, f64, f64), Box<dyn Error>> {
    let spec = UnitSpec {
        name: "film",
        about: "shows pictures",
        kind: Kind::Generator,
        inputs: vec![],
        outputs: vec![PortSpec::output::<Picture>("pictures")],
        params: vec![],
    };
    let registry = Registry::new()
        .with(Film { spec, shown: Arc::new(shown) })
        .with(MotionUnit::new())
        .with(QrUnit::new())
        .with(PlateUnit::new())
        .with(FaceUnit::new(FaceMemory::new(Gallery::new(FaceEnroller::new()?.model(), 128)?)?));
    let host = Host::new(HostOptions::default(), registry);
    let params = match unit {
        "motion" => String::new(),
        "plate" => format!("params = {{ every = 0.1, models = {:?} }}", models.display().to_string()),
        _ => "params = { every = 0.1 }".to_owned(),
    };
    let site = format!(
        "version = 1\nsite = \"bench\"\nlink = [{{ from = \"film#pictures\", to = \"{unit}#pictures\" }}]\n\
         [[component]]\nname = \"film\"\nunit = \"film\"\n[[component]]\nname = \"{unit}\"\nunit = \"{unit}\"\n{params}\n"
    );
    host.apply(&SiteDocument::parse(&site)?).await?;
    tokio::time::sleep(length).await;
    let status = host.status();
    let served = status.iter().filter(|it| it.unit == unit).flat_map(|it| &it.inputs).find_map(|input| input.served);
    host.shutdown().await;
    let (count, time) = served.ok_or_else(|| format!("{unit} held no picture"))?;
    Ok((count, time.mean.as_secs_f64() * 1e3, time.deviation.as_secs_f64() * 1e3))
}

/// Brightness with noise of a standard deviation of about 2, and colour, by BT.601.
fn planes(image: &image::RgbImage, seed: u32) -> Result<(Plane, [Plane; 2]), Box<dyn Error>> {
    let (width, height) = (image.width() as usize & !1, image.height() as usize & !1);
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 29) as f32 - 3.5
    };
    let mut luma = Vec::with_capacity(width * height);
    let (mut cb, mut cr) = (Vec::new(), Vec::new());
    for y in 0..height {
        for x in 0..width {
            let [r, g, b] = image.get_pixel(x as u32, y as u32).0.map(f32::from);
            let bright = 0.299 * r + 0.587 * g + 0.114 * b;
            luma.push((bright + noise()) as u8);
            if x % 2 == 0 && y % 2 == 0 {
                cb.push((128.0 + (b - bright) * 0.564) as u8);
                cr.push((128.0 + (r - bright) * 0.713) as u8);
            }
        }
    }
    let half = |data: Vec<u8>| Plane::new(width / 2, height / 2, width / 2, data.into()).ok_or("no plane");
    Ok((Plane::new(width, height, width, luma.into()).ok_or("no plane")?, [half(cb)?, half(cr)?]))
}
