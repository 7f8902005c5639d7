//! Archives for the tests, each with the folder in which its files really are.
#![allow(unreachable_pub, reason = "shared by several test programs")]
#![allow(dead_code, reason = "each test file uses some of it")]

pub mod disk;
pub mod mini_ftp;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use godvision_core::driver::archive::Archive;
use godvision_core::driver::conformance::archive::ArchiveBench;
use godvision_ftp::archive::folder::{FolderArchive, Placing};
use tempfile::TempDir;

/// A driver over a folder that can be looked into.
pub struct FolderBench {
    archive: Arc<dyn Archive>,
    root: PathBuf,
    local: TempDir,
    _home: TempDir,
}

impl FolderBench {
    pub fn start(placing: Placing) -> Self {
        let home = TempDir::new().unwrap();
        let root = home.path().join("archive");
        fs::create_dir(&root).unwrap();
        Self::over(Arc::new(FolderArchive::new(&root, placing)), root, home)
    }

    /// `archive` keeps its files in `root`; `home` is removed at the end.
    pub fn over(archive: Arc<dyn Archive>, root: PathBuf, home: TempDir) -> Self {
        Self { archive, root, local: TempDir::new().unwrap(), _home: home }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// All files below `root`, by their names relative to it.
pub fn files_below(root: &Path) -> Vec<String> {
    let (mut names, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                names.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    names.sort();
    names
}

impl ArchiveBench for FolderBench {
    fn archive(&self) -> Arc<dyn Archive> {
        self.archive.clone()
    }

    fn folder(&self) -> PathBuf {
        self.local.path().to_owned()
    }

    fn names(&self) -> Vec<String> {
        files_below(&self.root)
    }

    fn content(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.root.join(name)).ok()
    }

    fn plant(&self, name: &str, content: &[u8]) {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}
