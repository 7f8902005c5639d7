//! The crate's one error type.

#![forbid(unsafe_code)]

/// Why a picture or a setting cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The buffer is too short for its sizes, the stride is smaller than the width, or a side is 0.
    #[error(
        "{bytes} bytes cannot hold a {width}x{height} plane with a stride of {stride}: give the decoder's own sizes"
    )]
    BadPlane {
        /// Pixels in a row.
        width: usize,
        /// Rows.
        height: usize,
        /// Bytes from row to row.
        stride: usize,
        /// Bytes given.
        bytes: usize,
    },
    /// The picture has another size than the detector was made for.
    #[error("the picture is {got_width}x{got_height}, the detector was made for {width}x{height}: make a new one")]
    SizeChanged {
        /// The detector's width.
        width: usize,
        /// The detector's height.
        height: usize,
        /// The picture's width.
        got_width: usize,
        /// The picture's height.
        got_height: usize,
    },
    /// The picture is too small or too large to be watched.
    #[error(
        "pictures of {width}x{height} are not supported: each side must have 16 to 8192, together at most 38 million"
    )]
    UnsupportedSize {
        /// Pixels in a row.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// A zone cannot be used.
    #[error("zone {zone:?}: {reason}")]
    BadZone {
        /// Its name, or its text if it has none.
        zone: String,
        /// What is wrong and what would be right.
        reason: &'static str,
    },
    /// No more fits.
    #[error("no more than {max} {what}: remove some first")]
    Full {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// An embedding has another number of values than the rows it is compared with.
    #[error("an embedding of {got} values does not fit rows of {wanted}: it comes from another model")]
    OtherLength {
        /// Values of a row.
        wanted: usize,
        /// Values given.
        got: usize,
    },
    /// Rows of one model were offered to a gallery of another.
    #[error("faces of model {got:?} cannot be compared with those of {wanted:?}: enrol them anew")]
    OtherModel {
        /// The gallery's model.
        wanted: String,
        /// The model of what was offered.
        got: String,
    },
    /// A person cannot be enrolled, changed or forgotten so.
    #[error("person {person:?}: {reason}")]
    BadPerson {
        /// The person.
        person: String,
        /// What is wrong and what would be right.
        reason: &'static str,
    },
    /// A sealed gallery cannot be opened.
    #[error("the sealed gallery cannot be opened: {reason}")]
    BadVault {
        /// What is wrong.
        reason: &'static str,
    },
    /// An option is outside its range.
    #[error("option {option}: {reason}")]
    BadOption {
        /// Its name.
        option: &'static str,
        /// What would be right.
        reason: &'static str,
    },
    /// A model cannot be loaded, or has not the inputs and outputs that its user needs.
    #[error("the model {model} cannot be used: {reason}")]
    BadModel {
        /// Its name or its file's.
        model: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A model was given what it does not take, or failed on it.
    #[error("the model {model} failed: {reason}")]
    ModelFailed {
        /// Its name or its file's.
        model: String,
        /// What went wrong.
        reason: String,
    },
    /// The five points of a face cannot be turned upright.
    #[error("this is no face to cut out: {reason}")]
    BadFace {
        /// What is wrong.
        reason: &'static str,
    },
    /// These numbers are no embedding.
    #[error("{length} numbers are no embedding: {reason}")]
    BadEmbedding {
        /// How many there are.
        length: usize,
        /// What would be right.
        reason: &'static str,
    },
    /// A file of weights is cut off, of another version, or not a network that can be run.
    #[error("weights, byte {offset}: {reason}")]
    BadWeights {
        /// Where in the file, bytes from its start.
        offset: usize,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Error {
    /// Whether the same call may succeed later without a change: never, for every error of this crate.
    pub fn is_temporary(&self) -> bool {
        false
    }
}
