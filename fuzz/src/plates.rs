//! Number plates of `godvision-vision`: any text is refused or stays itself; forms change only what looks alike; the
//! detector takes planes of any size; readings in any order keep the votes bounded.

use godvision_core::{MonoTime, Stamp, WallTime};
use godvision_vision::plane::LumaView;
use godvision_vision::plate::format::{CHANGES_MAX, Layout};
use godvision_vision::plate::vote::TRACKS_MAX;
use godvision_vision::plate::{
    Country, Listed, Plate, PlateBox, PlateDetector, PlateList, PlateText, PlateVotes, VoteOptions, distance_tenths,
    resolve,
};

use crate::{Input, Reached};

/// Most readings of one input.
const READINGS_MAX: usize = 64;

/// One byte of what to do: 0 to 3 a text; else two bytes of size and pixels for the detector, then readings.
pub fn plates(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    match input.byte() {
        0..=3 => Reached::when(text(input.rest())),
        4..=7 => Reached::when(detector(&mut input)),
        _ => Reached::when(votes(&mut input)),
    }
}

fn text(data: &[u8]) -> bool {
    let Ok(Ok(plate)) = std::str::from_utf8(data).map(str::parse::<PlateText>) else { return false };
    assert_eq!(plate.as_str().parse::<PlateText>().expect("its own text"), plate);
    for layout in [Layout::Unknown, Layout::OneDarkLine] {
        let found = resolve(&plate, &Country::ALL, layout);
        assert!(found.changed <= CHANGES_MAX && found.text.as_str().len() == plate.as_str().len());
        assert_eq!(resolve(&found.text, &Country::ALL, layout).text, found.text, "resolving ends");
        let mut list = PlateList::new();
        list.put(found.text.clone(), ()).expect("room");
        let is_exact = matches!(list.look_up(&plate), Listed::Exact(()));
        assert_eq!(is_exact, found.text == plate, "only the exact text is on the list");
        assert!(distance_tenths(&plate, &found.text) <= found.changed as u32 * 3);
    }
    true
}

fn detector(input: &mut Input<'_>) -> bool {
    let [across, down, padding] = input.array();
    let (width, height) = (usize::from(across) * 3, usize::from(down) * 2);
    let stride = width + usize::from(padding % 9);
    let pattern = input.rest();
    let pixels: Vec<u8> = pattern.iter().copied().cycle().take(stride * height).collect();
    let Ok(view) = LumaView::new(&pixels, width, height, stride) else { return false };
    let mut detector = PlateDetector::new(0.3).expect("our own weights");
    for plate in detector.find(view, &[]).expect("any plane") {
        assert!(
            (0.3..=1.0).contains(&plate.score) && plate.corners.as_flattened().iter().all(|value| value.is_finite())
        );
        let region = plate.region(width, height);
        assert!(region.right <= 1000 && region.bottom <= 1000);
    }
    true
}

fn votes(input: &mut Input<'_>) -> bool {
    let mut votes = PlateVotes::new(VoteOptions::default()).expect("usual options");
    let (mut millis, mut counted) = (0, 0);
    while !input.is_empty() && counted < READINGS_MAX {
        let [wait, left, score] = input.array();
        millis += u64::from(wait) * 20;
        let Ok(Ok(text)) = std::str::from_utf8(input.bytes(6)).map(str::parse::<PlateText>) else { continue };
        let left = f32::from(left) * 10.0;
        let corners = [[left, 0.0], [left + 90.0, 0.0], [left + 90.0, 20.0], [left, 20.0]];
        let scores = vec![f32::from(score) / 255.0; text.as_str().len()];
        let plate = Plate { place: PlateBox { corners, score: 1.0 }, text, country: None, scores };
        let at = Stamp::new(MonoTime::from_millis(millis), WallTime::from_unix_millis(0));
        for settled in votes.add(&[plate], at) {
            assert!(settled.agreeing >= 3 && (0.0..=1.0).contains(&settled.score));
        }
        assert!(votes.followed() <= TRACKS_MAX);
        counted += 1;
    }
    counted > 0
}
