//! Where clips are kept for good: drivers behind [`godvision_core::driver::archive::Archive`].
//!
//! * [`folder`]: a local folder, the default that needs nothing.
//! * [`ftp`]: FTP and explicit FTPS (feature `ftp`).
//! * [`url`]: `ftp://` and `ftps://` addresses.
//!
//! **Never:** queues and retries (the uploader owns them).

pub mod folder;
#[cfg(feature = "ftp")]
pub mod ftp;
#[cfg(feature = "ftp")]
mod reply;
#[cfg(feature = "ftp")]
mod tls;
pub mod url;

use godvision_core::driver::archive::Upload;

/// The name of a partial upload: the final one and the content it is going to have, so that only that is resumed.
fn part_name(upload: &Upload) -> String {
    let print: String = upload.sha256.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{}.{print}.part", upload.name)
}
