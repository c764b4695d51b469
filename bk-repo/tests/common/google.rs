//! Google Cloud Storage in memory, as far as its XML API's reference says what a repository asks of it:
//! nothing that runs here speaks it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const DATE: &str = "Wed, 01 Jan 2025 00:00:00 GMT";

#[derive(Default)]
struct Objects {
    /// The bytes and the generation of each object.
    all: BTreeMap<String, (Vec<u8>, u64)>,
    /// The parts of uploads that are not complete.
    parts: BTreeMap<(String, u32), Vec<u8>>,
    generation: u64,
}

struct Request {
    method: String,
    key: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// Starts it; the URL of its one bucket follows.
pub fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let objects = Arc::new(Mutex::new(Objects::default()));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let objects = objects.clone();
            std::thread::spawn(move || talk(stream, &objects));
        }
    });
    format!("gs://bucket/apt?endpoint=http://127.0.0.1:{port}")
}

fn talk(mut stream: TcpStream, objects: &Mutex<Objects>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read(&mut reader) {
        let (status, headers, body) = objects.lock().unwrap().answer(&request);
        let length = if headers.contains("Content-Length") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let body = if request.method == "HEAD" { Vec::new() } else { body };
        let head = format!("HTTP/1.1 {status}\r\n{headers}{length}\r\n");
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let decode = |text: &str| bk::http::decode(text).unwrap();
    let query = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    Some(Request {
        method,
        key: decode(path).trim_start_matches("/bucket").trim_start_matches('/').to_owned(),
        query: query.map(|(name, value)| (name.to_owned(), decode(value))).collect(),
        headers,
        body,
    })
}

type Answer = (&'static str, String, Vec<u8>);

impl Objects {
    fn put(&mut self, key: &str, bytes: Vec<u8>) -> Answer {
        self.generation += 1;
        let generation = self.generation;
        self.all.insert(key.to_owned(), (bytes, generation));
        let headers = format!("ETag: \"{generation}\"\r\nx-goog-generation: {generation}\r\n");
        ("200 OK", headers, Vec::new())
    }

    fn answer(&mut self, request: &Request) -> Answer {
        let none = || ("404 Not Found", String::new(), b"<Code>NoSuchKey</Code>".to_vec());
        let key = request.key.as_str();
        let upload = request.query.get("uploadId").map(|id| (key.to_owned(), id.to_owned()));
        match (request.method.as_str(), upload) {
            ("GET", _) if key.is_empty() => self.list(&request.query["prefix"]),
            ("GET" | "HEAD", _) => match self.all.get(key) {
                Some(object) => get(request, object),
                None => none(),
            },
            ("POST", None) if request.query.contains_key("uploads") => {
                self.generation += 1;
                let id = self.generation;
                let text = format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                );
                ("200 OK", String::new(), text.into_bytes())
            }
            ("PUT", Some((_, id))) => {
                let number: u32 = request.query["partNumber"].parse().unwrap();
                self.parts.insert((id, number), request.body.clone());
                ("200 OK", format!("ETag: \"{number}\"\r\n"), Vec::new())
            }
            ("POST", Some((_, id))) => {
                let parts = self.parts.range((id.clone(), 0)..=(id, u32::MAX));
                let bytes = parts.flat_map(|(_, bytes)| bytes.clone()).collect();
                let (status, headers, _) = self.put(key, bytes);
                let text = "<CompleteMultipartUploadResult><ETag>\"x\"</ETag></CompleteMultipartUploadResult>";
                (status, headers, text.as_bytes().to_vec())
            }
            ("PUT", None) => {
                // "If the value is 0, the request succeeds only if there is no such object."
                let create = request.headers.get("x-goog-if-generation-match");
                if create.is_some_and(|generation| generation == "0") && self.all.contains_key(key)
                {
                    return ("412 Precondition Failed", String::new(), Vec::new());
                }
                match request.headers.get("x-goog-copy-source") {
                    None => self.put(key, request.body.clone()),
                    Some(from) => {
                        let from = bk::http::decode(from).unwrap();
                        let from = from.trim_start_matches('/').trim_start_matches("bucket/");
                        match self.all.get(from).cloned() {
                            Some((bytes, _)) => self.put(key, bytes),
                            None => none(),
                        }
                    }
                }
            }
            ("DELETE", _) => match self.all.remove(key) {
                Some(_) => ("204 No Content", String::new(), Vec::new()),
                None => none(),
            },
            _ => ("501 Not Implemented", String::new(), Vec::new()),
        }
    }

    fn list(&self, prefix: &str) -> Answer {
        let mut text = "<ListBucketResult>".to_owned();
        for (key, (bytes, generation)) in self.all.range(prefix.to_owned()..) {
            if key.starts_with(prefix) {
                let _ = write!(
                    text,
                    "<Contents><Key>{key}</Key><LastModified>2025-01-01T00:00:00.000Z</LastModified>\
                     <ETag>\"{generation}\"</ETag><Size>{}</Size></Contents>",
                    bytes.len()
                );
            }
        }
        text += "</ListBucketResult>";
        ("200 OK", "Content-Type: application/xml\r\n".into(), text.into_bytes())
    }
}

fn get(request: &Request, (bytes, generation): &(Vec<u8>, u64)) -> Answer {
    let mut headers = format!(
        "ETag: \"{generation}\"\r\nx-goog-generation: {generation}\r\nLast-Modified: {DATE}\r\n"
    );
    if request.method == "HEAD" {
        headers += &format!("Content-Length: {}\r\n", bytes.len());
        return ("200 OK", headers, Vec::new());
    }
    let range = request.headers.get("range").and_then(|range| range.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        return ("200 OK", headers, bytes.clone());
    };
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let last = last.min(bytes.len() - 1);
    headers += &format!("Content-Range: bytes {first}-{last}/{}\r\n", bytes.len());
    ("206 Partial Content", headers, bytes[first..=last].to_vec())
}
