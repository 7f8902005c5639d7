//! The local folder keeps the promises of an archive, by hard links and by copies.

mod bench;

use bench::FolderBench;
use godvision_ftp::archive::folder::Placing;

godvision_core::archive_conformance!(folder_by_link, async { FolderBench::start(Placing::Link) });
godvision_core::archive_conformance!(folder_by_copy, async { FolderBench::start(Placing::Copy) });
