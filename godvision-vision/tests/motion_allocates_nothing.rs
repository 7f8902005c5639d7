//! Once it runs, a motion detector allocates nothing: counted by the allocator itself.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Wall, at};
use godvision_vision::motion::{MotionDetector, MotionOptions, Zone};
use godvision_vision::plane::LumaView;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code)]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// One test only: others beside it would be counted too.
#[test]
fn motion_allocates_nothing() {
    for (width, height) in [(640, 360), (1280, 720), (1920, 1080)] {
        let wall = Wall::new(width, height);
        let zone: Zone = "yard: 0,0 1000,0 1000,1000 0,1000".parse().unwrap();
        let mut options = MotionOptions::default();
        options.zones.push(zone);
        options.rest_after = std::time::Duration::from_secs(1);
        let mut detector = MotionDetector::new(options, width, height).unwrap();
        let (mut boxes, mut steps, mut scenes, mut rests, mut counted) = (0, 0, 0, 0, 0);
        for i in 0..90 {
            // A walker and a crowd of 60, a light, a standing figure that leaves, a case that is left: every path of the
            // detector. Six frames a second, so that the view is judged, too.
            let step = width / 200;
            let mut figures = vec![[i * step, height / 3, i * step + width / 20, height * 2 / 3]];
            if i > 40 {
                let crowd = (0..60).map(|k| [(k * 37 + i * step) % width, (k * 53) % height]);
                figures.extend(crowd.map(|[x, y]| [x, y, x + width / 40, y + height / 20]));
            }
            if i > 5 {
                figures.push([width / 8, height * 3 / 4, width / 5, height * 7 / 8]);
            }
            if i < 20 {
                figures.push([width / 2, height / 2, width / 2 + width / 10, height / 2 + height / 4]);
            }
            let gain = if i > 70 { 0.5 } else { 1.0 };
            let luma = wall.frame(&figures, |v| v * gain, 3.0, i as u64);
            let view = LumaView::new(&luma, width, height, width).unwrap();
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            let report = detector.step(view, at(i * 4), i as u64).unwrap();
            boxes += report.boxes().len();
            steps += usize::from(report.step.is_some());
            scenes += usize::from(report.scene.is_some());
            rests += report.rests().len();
            assert!(report.zones().count() <= 1);
            counted += ALLOCATIONS.load(Ordering::Relaxed) - before;
        }
        assert!(boxes > 100 && steps > 10 && scenes == 1, "{boxes} boxes, {steps} steps, {scenes} scenes");
        assert!(rests > 20, "{rests} rests");
        assert_eq!(counted, 0, "{width}x{height}");
    }
}
