//! An index of Python's on this machine, laid out as servers lay theirs out.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

/// What a wheelhouse of the tests has.
pub type Wheels<'a> = &'a [(&'a str, &'a str, &'a [&'a str])];

/// A wheel with nothing but its metadata; one that is called `large` has many members.
pub fn wheel(name: &str, version: &str, requires: &[&str]) -> (String, Vec<u8>) {
    let dist_info = format!("{name}-{version}.dist-info");
    let mut metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
    for requirement in requires {
        metadata += &format!("Requires-Dist: {requirement}\n");
    }
    for extra in ["x", "y"] {
        metadata += &format!("Provides-Extra: {extra}\n");
    }
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file(format!("{name}.py"), options).unwrap();
    // Larger than what is asked for at first, and not to be compressed away.
    let noise: Vec<u8> = (0..6_000u32).flat_map(|n| Sha256::digest(n.to_le_bytes())).collect();
    zip.write_all(&noise).unwrap();
    // Their directory is a megabyte.
    for member in 0..if name == "large" { 15_000 } else { 0 } {
        zip.start_file(format!("large_data/{member}"), options).unwrap();
    }
    for (member, text) in
        [("METADATA", metadata.as_str()), ("WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")]
    {
        zip.start_file(format!("{dist_info}/{member}"), options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    let bytes = zip.finish().unwrap().into_inner();
    (format!("{name}-{version}-py3-none-any.whl"), bytes)
}

/// How an index is laid out.
#[derive(Clone, Copy, PartialEq)]
pub enum Style {
    /// JSON, with METADATA beside the wheels.
    Sidecar,
    /// HTML, and ranges of the wheels.
    Range,
    /// HTML, and nothing but whole wheels.
    Plain,
}

/// Serves `wheels`; what was asked for is in the log.
pub fn serve(style: Style, wheels: Wheels<'_>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut files: HashMap<String, (&str, Vec<u8>)> = HashMap::new();
    let mut pages: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, version, requires) in wheels {
        let (file, bytes) = wheel(name, version, requires);
        let sum = format!("{:x}", Sha256::digest(&bytes));
        let page = pages.entry(name).or_default();
        if style == Style::Sidecar {
            let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&bytes)).unwrap();
            let mut metadata = Vec::new();
            let path = format!("{name}-{version}.dist-info/METADATA");
            archive.by_name(&path).unwrap().read_to_end(&mut metadata).unwrap();
            page.push(format!(
                r#"{{"filename":"{file}","url":"../../f/{file}","hashes":{{"sha256":"{sum}"}},
                    "core-metadata":{{"sha256":"{:x}"}}}}"#,
                Sha256::digest(&metadata)
            ));
            files.insert(format!("/f/{file}.metadata"), ("text/plain", metadata));
        } else {
            page.push(format!(r#"<a href="../../f/{file}#sha256={sum}">{file}</a>"#));
        }
        files.insert(format!("/f/{file}"), ("application/octet-stream", bytes));
    }
    for (name, links) in pages {
        let page = match style {
            Style::Sidecar => (
                "application/vnd.pypi.simple.v1+json",
                format!(
                    r#"{{"meta":{{"api-version":"1.0"}},"name":"{name}","files":[{}]}}"#,
                    links.join(",")
                ),
            ),
            _ => (
                "text/html",
                format!("<!DOCTYPE html><html><body>{}</body></html>", links.join("\n")),
            ),
        };
        files.insert(format!("/simple/{name}/"), (page.0, page.1.into_bytes()));
    }
    let (files, logged) = (Arc::new(files), log.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (files, log) = (files.clone(), logged.clone());
            std::thread::spawn(move || answer(&stream, style, &files, &log));
        }
    });
    (format!("{base}/simple"), log)
}

fn answer(
    stream: &TcpStream,
    style: Style,
    files: &HashMap<String, (&str, Vec<u8>)>,
    log: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let mut stream = stream;
    loop {
        let request = lines.next()?.ok()?;
        let headers: Vec<String> =
            lines.by_ref().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
        let header = |name: &str| {
            let line =
                headers.iter().find(|h| h.to_lowercase().starts_with(&format!("{name}:")))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let path = request.split(' ').nth(1)?.to_owned();
        let range = header("range").filter(|_| style == Style::Range);
        log.lock().unwrap().push(format!("{path} {}", header("range").unwrap_or_default()));
        let mut write = |status: &str, more: &str, body: &[u8]| {
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"1\"\r\n{more}\r\n",
                body.len()
            );
            stream.write_all(&[head.as_bytes(), body].concat()).ok()
        };
        match files.get(&path) {
            None => write("404 Not Found", "", b"")?,
            Some(_) if header("if-none-match").as_deref() == Some("\"1\"") => {
                write("304 Not Modified", "", b"")?;
            }
            Some((kind, body)) => match range {
                Some(range) => {
                    let (a, b) = range.strip_prefix("bytes=")?.split_once('-')?;
                    let (start, end) = match a.parse::<usize>() {
                        Ok(start) => (start, (b.parse::<usize>().ok()? + 1).min(body.len())),
                        Err(_) => (body.len().saturating_sub(b.parse().ok()?), body.len()),
                    };
                    let more =
                        format!("Content-Range: bytes {start}-{}/{}\r\n", end - 1, body.len());
                    write("206 Partial Content", &more, &body[start..end])?;
                }
                // Old at once, so that it is asked for again.
                None => write(
                    "200 OK",
                    &format!("Content-Type: {kind}\r\nCache-Control: max-age=0\r\n"),
                    body,
                )?,
            },
        }
    }
}
