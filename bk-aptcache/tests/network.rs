//! `bk-aptcache serve` in networks of its own: names that lie, addresses that are dead, tunnels,
//! announcements. Nothing of the machine's own network is touched.

#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;

use common::{Ran, World};

/// What every script begins with: a network with `lo` and `net0`, on which public addresses can be
/// simulated, a name server on loopback that answers from `names`, and web servers that count.
const NETWORK: &str = r#"
import http.server, json, os, socket, subprocess, sys, threading, time, urllib.request

def run(*words):
    subprocess.run(words, check=True)

run('ip', 'link', 'set', 'lo', 'up')
run('ip', 'link', 'add', 'net0', 'type', 'veth', 'peer', 'net1')
run('ip', 'link', 'set', 'net0', 'up')
run('ip', 'link', 'set', 'net1', 'up')
run('ip', 'address', 'add', '8.8.8.8/24', 'dev', 'net0')
run('ip', '-6', 'address', 'add', '2600::2/64', 'dev', 'net0', 'nodad')
with open('resolv.conf', 'w') as file:
    file.write('nameserver 127.0.0.1\noptions timeout:1 attempts:1\n')
run('mount', '--bind', 'resolv.conf', '/etc/resolv.conf')

# Of each name: a list of answers, each a list of addresses; the last one stays.
names = {}

def answer(packet):
    end = packet.index(b'\0', 12) + 1
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    kind = int.from_bytes(packet[end:end + 2], 'big')
    answers = names.get('.'.join(labels), [[]])
    family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
    found = [a for a in answers[0] if family and (':' in a) == (kind == 28)]
    if kind == 1 and len(answers) > 1:
        answers.pop(0)
    head = packet[:2] + b'\x81\x80\0\x01' + len(found).to_bytes(2, 'big') + b'\0\0\0\0'
    body = packet[12:end + 4]
    for address in found:
        data = socket.inet_pton(family, address)
        body += b'\xc0\x0c' + packet[end:end + 4] + b'\0\0\0\0' + len(data).to_bytes(2, 'big') + data
    return head + body

def resolve():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(('127.0.0.1', 53))
    while True:
        packet, client = server.recvfrom(1000)
        server.sendto(answer(packet), client)

threading.Thread(target=resolve, daemon=True).start()
connects = {}

class Web(http.server.HTTPServer):
    def get_request(self):
        place = self.server_address[0]
        connects[place] = connects.get(place, 0) + 1
        return super().get_request()

def web(place, does):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = does(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header('Content-Length', str(len(body)))
            self.send_header('Connection', 'close')
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *words):
            pass
    threading.Thread(target=Web((place, 80), Handler).serve_forever, daemon=True).start()

def cache(*words):
    server = subprocess.Popen([sys.argv[1], 'serve', '--cache', 'cache', '--listen', '127.0.0.1:9999', *words],
                              stdout=subprocess.PIPE)
    server.stdout.readline()
    return server

def get(path):
    try:
        with urllib.request.urlopen('http://127.0.0.1:9999/' + path, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
"#;

/// Runs a script in a network, and returns the lines it prints.
fn in_a_network(script: &str) -> Vec<String> {
    let world = World::new();
    let mut command = Command::new("unshare");
    // A script that fails leaves no process behind that would keep its output open.
    command.args(["-n", "-m", "--pid", "--kill-child", "--mount-proc"]);
    command.args(["/usr/bin/python3", "-c", &format!("{NETWORK}\n{script}")]);
    command.arg(env!("CARGO_BIN_EXE_bk-aptcache")).current_dir(world.path(""));
    let said = Ran::new(command.env("BK_ROOT", "root").output().unwrap()).ok();
    said.lines().map(str::to_owned).collect()
}

#[test]
fn a_name_that_turns_inward_is_refused() {
    let lines = in_a_network(
        r#"
web('8.8.8.8', lambda path: (302, {'Location': 'http://cdn.example' + path.replace('/a/', '/b/')}, b'')
    if path.startswith('/a/') else (200, {}, b'public ' + path.encode()))
web('127.0.0.1', lambda path: (200, {}, b'secret'))
names['archive.example'] = [['8.8.8.8']]
# First it is public, then it leads to this machine: rebinding.
names['cdn.example'] = [['8.8.8.8'], ['127.0.0.1']]
server = cache('--upstream', 'x=http://archive.example')
print(*get('x/a/one.deb'))
print(get('x/a/two.deb')[0])
# Of several addresses only those are taken that may be.
names['cdn.example'] = [['127.0.0.1', '8.8.8.8', '10.0.0.1']]
print(*get('x/a/three.deb'))
names['cdn.example'] = [['127.0.0.1', '169.254.169.254']]
print(get('x/a/four.deb')[0])
print(connects.get('127.0.0.1', 0))
server.kill()
"#,
    );
    let expected = ["200 public /b/one.deb", "403", "200 public /b/three.deb", "403", "0"];
    assert_eq!(lines, expected);
}

#[test]
fn an_address_that_is_dead_holds_nothing_up() {
    let lines = in_a_network(
        r#"
web('8.8.8.8', lambda path: (200, {}, b'alive'))
# Nobody is at 2600::1, and nothing says so: it comes first, as IPv6 does.
names['archive.example'] = [['2600::1', '8.8.8.8']]
first = socket.getaddrinfo('archive.example', 80, type=socket.SOCK_STREAM)[0][4][0]
server = cache('--upstream', 'x=http://archive.example')
start = time.monotonic()
said = get('x/a.deb')
# Five seconds are what a connection may take: it did not wait for the dead one to be given up.
print(first, *said, time.monotonic() - start < 4)
server.kill()
"#,
    );
    assert_eq!(lines, ["2600::1 200 alive True"]);
}

#[test]
fn connect_reaches_listed_hosts() {
    let lines = in_a_network(
        r#"
hidden = socket.create_server(('127.0.0.1', 443))
def shout():
    client, _ = hidden.accept()
    client.sendall(client.recv(100).upper())
    client.close()
threading.Thread(target=shout, daemon=True).start()
server = cache('--upstream', 'x=http://127.0.0.1:1', '--connect', '127.0.0.1', '--allow-address', '127.0.0.0/8')
client = socket.create_connection(('127.0.0.1', 9999), timeout=20)
client.sendall(b'CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: x\r\n\r\n')
print(client.recv(1000).decode().split(' ')[1])
client.sendall(b'through the tunnel')
print(client.recv(100).decode())
server.kill()
"#,
    );
    assert_eq!(lines, ["200", "THROUGH THE TUNNEL"]);
}

#[test]
fn the_cache_is_announced_to_the_network() {
    let lines = in_a_network(
        r#"
for folder in ('/run', '/var/run'):
    if not os.path.islink(folder):
        run('mount', '-t', 'tmpfs', 'tmpfs', folder)
os.makedirs('/run/dbus')
os.makedirs('/run/avahi-daemon')
bus = subprocess.Popen(['dbus-daemon', '--system', '--nofork', '--nopidfile'])
while not os.path.exists('/run/dbus/system_bus_socket'):
    time.sleep(0.05)
avahi = subprocess.Popen(['avahi-daemon', '--no-drop-root', '--no-chroot', '--no-proc-title', '--no-rlimits'],
                         stderr=subprocess.DEVNULL)
while subprocess.run(['avahi-daemon', '--check']).returncode:
    time.sleep(0.05)
def ports():
    browse = ['avahi-browse', '--resolve', '--parsable', '--terminate', '_apt_proxy._tcp']
    lines = subprocess.run(browse, capture_output=True, text=True).stdout.splitlines()
    # Other caches of the machine may be announced, too.
    return {line.split(';')[8] for line in lines if line.startswith('=') and 'BuildKit' in line}
def wait(wanted):
    start = time.monotonic()
    while ports() != wanted and time.monotonic() - start < 60:
        time.sleep(0.1)
    print(ports() == wanted)
server = cache('--upstream', 'x=http://127.0.0.1:1', '--mdns')
wait({'9999'})
server.terminate()
server.wait()
wait(set())
avahi.kill()
bus.kill()
"#,
    );
    assert_eq!(lines, ["True", "True"]);
}
