//! A Flask app in the machine, and the little HTTP it takes to see its page.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bk::{Context, Error, Result};

use super::Server;
use super::machine::Machine;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

const APP: &str = r#"
from importlib.metadata import version
from flask import Flask, render_template_string

app = Flask(__name__)

@app.get("/<name>")
def page(name):
    return render_template_string("Hello {{ name }}, from Flask {{ v }}", name=name, v=version("flask"))
"#;

/// A port of the loopback interface that nobody has.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    Ok(listener.and_then(|l| l.local_addr()).context(|| "no port is free".into())?.port())
}

/// Waits until somebody listens.
pub fn wait(address: &str) -> Result<()> {
    let start = Instant::now();
    while let Err(error) = TcpStream::connect(address) {
        if start.elapsed() > PATIENCE {
            return Err(Error::from(error).context(format!("nobody listens on '{address}'")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Runs a Flask app in the machine, fetches its page, and tells what it said.
pub fn flask(machine: &Machine) -> Result<String> {
    bk::file::write(&machine.path("srv/app.py"), APP)?;
    let port = free_port()?;
    let words = ["flask", "--app", "/srv/app.py", "run", "--port", &port.to_string()];
    let _server = Server::start(&machine.command(&words))?;
    let address = format!("127.0.0.1:{port}");
    wait(&address)?;
    let page = get(&address, "/Debian")?;
    if !page.starts_with("Hello Debian, from Flask ") {
        return Err(Error::new(format!("the Flask app said '{}'", bk::sanitize(&page))));
    }
    Ok(format!("  a Flask app ran there, and its page said: {page}\n"))
}

/// The body of a page.
fn get(address: &str, path: &str) -> Result<String> {
    let fetch = || -> Result<String> {
        let address: SocketAddr = address.parse()?;
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // HTTP/1.0: the body ends where the connection does.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.split(' ').nth(1) {
            Some("200") => Ok(body.to_owned()),
            _ => Err(Error::new(bk::sanitize(head.lines().next().unwrap_or("no answer")))),
        }
    };
    fetch().context(|| format!("cannot fetch http://{address}{path}"))
}
