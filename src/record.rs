//! Records: what tools say to each other on stdin and stdout (bk-stream.7).

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, BufRead, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Serialize, Serializer};

use crate::{Context, Error, Result};

/// How records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The shortest useful line.
    #[default]
    Lines,
    /// The same, each ended by NUL instead of a newline (`-0`).
    Null,
    /// One JSON object a line (`--json`).
    Json,
}

/// One thing a tool tells on stdout.
///
/// Its JSON has a `"type"`: say `#[serde(tag = "type", rename = "deb")]` on the struct.
pub trait Record: Serialize {
    /// The shortest useful line, without its end.
    fn line(&self) -> Cow<'_, [u8]>;
}

/// stdout.
pub struct Output {
    format: Format,
    writer: Box<dyn Write + Send>,
}

impl Output {
    /// Writes records to `writer` in `format`.
    pub fn new(format: Format, writer: impl Write + Send + 'static) -> Self {
        // 64 KiB: the size of a pipe on Linux.
        let writer = Box::new(io::BufWriter::with_capacity(1 << 16, writer));
        Output { format, writer }
    }

    /// How records are written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Writes a record. Call [`Output::flush`] where the next one takes its time.
    pub fn record(&mut self, record: &impl Record) -> Result<()> {
        let end: &[u8] = match self.format {
            Format::Json => {
                serde_json::to_writer(&mut self.writer, record)?;
                b"\n"
            }
            format => {
                let line = record.line();
                if format == Format::Lines && line.contains(&b'\n') {
                    let line = crate::display(OsStr::from_bytes(&line));
                    return Err(Error::new(format!("'{line}' has a newline in it"))
                        .hint("write with -0 or --json"));
                }
                self.writer.write_all(&line).context(failed)?;
                if format == Format::Lines { b"\n" } else { b"\0" }
            }
        };
        self.writer.write_all(end).context(failed)
    }

    /// Writes bytes that are already in a form of their own: deb822, a file's content.
    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.writer.write_all(bytes.as_ref()).context(failed)
    }

    /// Hands on what was written so far.
    pub fn flush(&mut self) -> Result<()> {
        self.writer.flush().context(failed)
    }
}

fn failed() -> String {
    "cannot write to stdout".into()
}

/// Serialises a path as a string, or as `{"bytes": "base64"}` where it is not UTF-8.
/// For `#[serde(serialize_with = "bk::record::path")]`.
pub fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    match path.to_str() {
        Some(text) => serializer.serialize_str(text),
        None => {
            let bytes = BASE64.encode(path.as_os_str().as_bytes());
            serializer.collect_map([("bytes", bytes)])
        }
    }
}

/// The paths a tool is to work on: its arguments, with `-` standing for those on `stdin`.
///
/// stdin holds a path a line, NUL-ended paths if `null`, or JSON objects with a `path` if its first
/// byte is `{`; objects without one say something else and are passed over. Paths are yielded as
/// they arrive.
pub fn inputs<'a>(
    arguments: &'a [PathBuf],
    null: bool,
    stdin: impl BufRead + 'a,
) -> impl Iterator<Item = Result<PathBuf>> + 'a {
    let mut stdin = Some(stdin);
    arguments.iter().flat_map(move |argument| -> Box<dyn Iterator<Item = Result<PathBuf>> + 'a> {
        if argument.as_os_str() != "-" {
            return Box::new(std::iter::once(Ok(argument.clone())));
        }
        match stdin.take() {
            Some(stdin) => Box::new(Paths { stdin, null, json: None, line: 0 }),
            None => Box::new(std::iter::once(Err(Error::new("'-' is given twice")))),
        }
    })
}

struct Paths<R> {
    stdin: R,
    null: bool,
    json: Option<bool>,
    line: u64,
}

impl<R: BufRead> Iterator for Paths<R> {
    type Item = Result<PathBuf>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let json = match self.json {
                Some(json) => json,
                None => match self.stdin.fill_buf() {
                    Ok(start) => *self.json.insert(start.first() == Some(&b'{')),
                    Err(e) => return Some(Err(Error::from(e).context("cannot read stdin"))),
                },
            };
            let end = if self.null && !json { 0 } else { b'\n' };
            let mut bytes = Vec::new();
            match self.stdin.read_until(end, &mut bytes) {
                Err(e) => return Some(Err(Error::from(e).context("cannot read stdin"))),
                Ok(0) => return None,
                Ok(_) => {}
            }
            self.line += 1;
            if bytes.last() == Some(&end) {
                bytes.pop();
            }
            if bytes.is_empty() {
                continue;
            }
            if !json {
                return Some(Ok(std::ffi::OsString::from_vec(bytes).into()));
            }
            if let Some(path) = path_of(&bytes).transpose() {
                let line = self.line;
                return Some(path.context(|| format!("cannot read line {line} of stdin")));
            }
        }
    }
}

fn path_of(json: &[u8]) -> Result<Option<PathBuf>> {
    let value: serde_json::Value = serde_json::from_slice(json)?;
    Ok(match &value["path"] {
        serde_json::Value::Null => None,
        serde_json::Value::String(path) => Some(path.into()),
        other => {
            let bytes = other["bytes"].as_str().ok_or_else(|| Error::new("'path' is no path"))?;
            Some(std::ffi::OsString::from_vec(BASE64.decode(bytes)?).into())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stdin: &[u8], null: bool) -> Vec<PathBuf> {
        inputs(&["-".into()], null, stdin).map(Result::unwrap).collect()
    }

    #[test]
    fn both_forms_of_a_neighbours_output_are_read() {
        assert_eq!(read(b"a b\n\nc", false), [Path::new("a b"), Path::new("c")]);
        assert_eq!(read(b"a\nb\0c\0", true), [Path::new("a\nb"), Path::new("c")]);
        let json = b"{\"type\":\"deb\",\"path\":\"x.deb\"}\n{\"type\":\"summary\"}\n\
                     {\"path\":{\"bytes\":\"/w==\"}}\n";
        assert_eq!(read(json, false), [Path::new("x.deb"), Path::new(OsStr::from_bytes(b"\xff"))]);
        assert_eq!(read(json, true), read(json, false));
    }

    #[test]
    fn arguments_and_stdin_keep_their_order() {
        let arguments = ["1".into(), "-".into(), "3".into()];
        let paths: Vec<_> = inputs(&arguments, false, &b"2"[..]).map(Result::unwrap).collect();
        assert_eq!(paths, [Path::new("1"), Path::new("2"), Path::new("3")]);
    }

    #[test]
    fn stdin_is_read_once_and_bad_json_names_its_line() {
        let twice = ["-".into(), "-".into()];
        assert!(inputs(&twice, false, &b""[..]).any(|path| path.is_err()));
        let arguments = ["-".into()];
        let error = inputs(&arguments, false, &b"{}\n{\n"[..]).next().unwrap().unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
