//! A small FTP server over a folder that misbehaves on request. Real servers behave; these tests need the others.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

/// What the server does differently.
#[derive(Clone, Debug, Default)]
pub struct Knobs {
    /// EPSV is answered 500.
    pub no_epsv: bool,
    /// PASV announces this address instead of its own.
    pub pasv_lies: Option<[u8; 4]>,
    /// REST before STOR is refused; APPE works.
    pub no_rest_stor: bool,
    /// FEAT offers XSHA256, and this is its answer.
    pub xsha256: Option<String>,
    /// This is said instead of doing what the verb asks.
    pub says: HashMap<&'static str, Vec<u8>>,
    /// Nothing at all is said to this verb.
    pub silent_at: Option<&'static str>,
    /// All connections are cut once so many bytes of an upload have come.
    pub cut_after: Option<u64>,
    /// Uploads beyond so many bytes are refused with 552.
    pub full_after: Option<u64>,
    /// Does what the verb asks, then cuts the connection without an answer. Once.
    pub dies_after: Option<&'static str>,
}

#[derive(Clone)]
pub struct MiniFtp {
    pub port: u16,
    pub root: PathBuf,
    knobs: Arc<Mutex<Knobs>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl MiniFtp {
    pub const PASSWORD: &str = "s3cret-word";

    pub fn start(root: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, root, knobs: Arc::default(), log: Arc::default() };
        let shared = server.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let server = shared.clone();
                thread::spawn(move || drop(server.serve(connection)));
            }
        });
        server
    }

    pub fn set(&self, knobs: Knobs) {
        *self.knobs.lock().unwrap() = knobs;
    }

    /// Commands so far, without passwords.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn serve(&self, connection: TcpStream) -> std::io::Result<()> {
        let mut out = connection.try_clone()?;
        out.write_all(b"220 mini\r\n")?;
        let mut lines = BufReader::new(connection).lines();
        let (mut data, mut rest, mut rename) = (None::<TcpListener>, 0u64, None::<PathBuf>);
        while let Some(Ok(line)) = lines.next() {
            let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
            let verb = verb.to_ascii_uppercase();
            self.log.lock().unwrap().push(if verb == "PASS" { "PASS".into() } else { line.clone() });
            let knobs = self.knobs.lock().unwrap().clone();
            if knobs.silent_at == Some(verb.as_str()) {
                continue;
            }
            if let Some(canned) = knobs.says.get(verb.as_str()) {
                out.write_all(canned)?;
                continue;
            }
            let path = self.root.join(argument);
            let answer = match verb.as_str() {
                "USER" => "331 password".into(),
                "PASS" if argument == Self::PASSWORD => "230 in".into(),
                "PASS" => "530 Login incorrect.".into(),
                "TYPE" | "NOOP" => "200 ok".into(),
                "FEAT" if knobs.xsha256.is_some() => "211-Features:\r\n XSHA256\r\n211 End".into(),
                "FEAT" => "211-Features:\r\n SIZE\r\n211 End".into(),
                "XSHA256" => knobs.xsha256.clone().map_or("502 no".into(), |answer| format!("250 {answer}")),
                "SIZE" => match fs::metadata(&path) {
                    Ok(meta) if meta.is_file() => format!("213 {}", meta.len()),
                    _ => "550 no such file".into(),
                },
                "MKD" => match fs::create_dir(&path) {
                    Ok(()) => "257 made".into(),
                    Err(_) => "550 exists".into(),
                },
                "DELE" => match fs::remove_file(&path) {
                    Ok(()) => "250 gone".into(),
                    Err(_) => "550 no such file".into(),
                },
                "RNFR" if path.exists() => {
                    rename = Some(path);
                    "350 to?".into()
                }
                "RNFR" => "550 no such file".into(),
                "RNTO" => match rename.take().map(|from| fs::rename(from, &path)) {
                    Some(Ok(())) => "250 renamed".into(),
                    _ => "553 no".into(),
                },
                "REST" => {
                    rest = argument.parse().unwrap_or(0);
                    "350 go on".into()
                }
                "EPSV" if knobs.no_epsv => "500 unknown command".into(),
                "EPSV" | "PASV" => {
                    let listener = TcpListener::bind("127.0.0.1:0")?;
                    let port = listener.local_addr()?.port();
                    data = Some(listener);
                    let [a, b, c, d] = knobs.pasv_lies.unwrap_or([127, 0, 0, 1]);
                    match verb.as_str() {
                        "EPSV" => format!("229 passive (|||{port}|)"),
                        _ => format!("227 passive ({a},{b},{c},{d},{},{})", port / 256, port % 256),
                    }
                }
                "STOR" if rest > 0 && knobs.no_rest_stor => {
                    rest = 0;
                    "554 Unable to restart".into()
                }
                "STOR" | "APPE" | "RETR" => {
                    let from = std::mem::take(&mut rest);
                    let Some(listener) = data.take() else { return Ok(()) };
                    match self.transfer(&verb, path, from, listener, &mut out, &knobs)? {
                        Some(answer) => answer,
                        None => return out.shutdown(Shutdown::Both),
                    }
                }
                "ABOR" => "226 stopped".into(),
                _ => "502 unknown".into(),
            };
            if knobs.dies_after == Some(verb.as_str()) {
                self.knobs.lock().unwrap().dies_after = None;
                return out.shutdown(Shutdown::Both);
            }
            out.write_all(format!("{answer}\r\n").as_bytes())?;
        }
        Ok(())
    }

    fn transfer(
        &self,
        verb: &str,
        path: PathBuf,
        from: u64,
        listener: TcpListener,
        out: &mut TcpStream,
        knobs: &Knobs,
    ) -> std::io::Result<Option<String>> {
        let (mut data, _) = listener.accept()?;
        if verb == "RETR" {
            let Ok(mut file) = File::open(path) else { return Ok(Some("550 no such file".into())) };
            out.write_all(b"150 here\r\n")?;
            file.seek(SeekFrom::Start(from))?;
            let sent = std::io::copy(&mut file, &mut data);
            return Ok(Some(if sent.is_ok() { "226 done".into() } else { "426 cut".into() }));
        }
        let opened = match verb {
            "APPE" => OpenOptions::new().create(true).append(true).open(path),
            _ => OpenOptions::new().create(true).write(true).truncate(from == 0).open(path),
        };
        let Ok(mut file) = opened else { return Ok(Some("553 Could not create file.".into())) };
        out.write_all(b"150 send\r\n")?;
        if verb == "STOR" {
            file.seek(SeekFrom::Start(from))?;
        }
        let (mut buffer, mut come) = ([0; 4096], 0u64);
        loop {
            let read = data.read(&mut buffer)?;
            if read == 0 {
                return Ok(Some("226 done".into()));
            }
            come += read as u64;
            file.write_all(&buffer[..read])?;
            if knobs.full_after.is_some_and(|limit| come > limit) {
                return Ok(Some("552 Disk full - please upload later".into()));
            }
            if knobs.cut_after.is_some_and(|limit| come > limit) {
                self.knobs.lock().unwrap().cut_after = None;
                let _ = data.shutdown(Shutdown::Both);
                return Ok(None);
            }
        }
    }
}
