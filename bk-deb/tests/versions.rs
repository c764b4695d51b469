//! Python's versions and specifiers as Debian's, held against Python's packaging and dpkg's own Perl
//! modules, both in one process each: hundreds of thousands of pairs in seconds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use bk_deb::mapping::relation::relations;
use bk_deb::mapping::version::debian;

/// How many; `BK_VERSION_PAIRS=1000000` makes the run that the mapping is judged by, which takes two
/// minutes.
fn pairs() -> usize {
    std::env::var("BK_VERSION_PAIRS").ok().and_then(|n| n.parse().ok()).unwrap_or(60_000)
}

/// Runs a script of Python or Perl with `input`, and returns its lines.
fn ask(program: &[&str], script: &str, args: &[String], input: String) -> Vec<String> {
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .arg(script)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success(), "{program:?} failed");
    lines
}

/// Random versions of the same number of release parts, always the same ones. Of local labels both
/// have numbers or both have letters: dpkg and PEP 440 differ in which of the two is greater, which
/// the mapping's documentation says.
const VERSIONS: &str = "
import random, sys
from packaging.version import Version
r = random.Random(2011)
def version(parts, kind):
    text = f'{r.randrange(2)}!' if r.random() < 0.1 else ''
    text += '.'.join(str(r.choice([0, 0, 1, 2, 9, 10, 11, 2024])) for _ in range(parts))
    if r.random() < 0.4: text += r.choice(['a', 'b', 'rc']) + str(r.randrange(12))
    if r.random() < 0.3: text += '.post' + str(r.randrange(12))
    if r.random() < 0.3: text += '.dev' + str(r.randrange(12))
    if r.random() < 0.2:
        one = lambda: str(r.randrange(20)) if kind else r.choice(['a', 'ab', 'cu118', 'x1y'])
        text += '+' + '.'.join(one() for _ in range(r.randrange(1, 3)))
    return text
for _ in range(int(sys.argv[1])):
    parts, kind = r.randrange(1, 5), r.random() < 0.5
    a, b = version(parts, kind), version(parts, kind)
    x, y = Version(a), Version(b)
    print(a, b, (x > y) - (x < y))
";

const COMPARE: &str = "
use strict; use warnings; use Dpkg::Version;
while (<STDIN>) { chomp; my ($a, $b) = split / /; print version_compare($a, $b), qq(\\n); }
";

#[test]
fn dpkg_orders_versions_as_packaging_does() {
    let n = pairs();
    let lines = ask(&["python3", "-c"], VERSIONS, &[n.to_string()], String::new());
    assert_eq!(lines.len(), n);
    let mut input = String::new();
    let mut expected = Vec::new();
    for line in &lines {
        let words: Vec<&str> = line.split(' ').collect();
        let of = |text: &str| debian(&text.parse().unwrap(), 0);
        input += &format!("{} {}\n", of(words[0]), of(words[1]));
        expected.push(words[2].to_owned());
    }
    let verdicts = ask(&["perl", "-e"], COMPARE, &[], input);
    let wrong: Vec<_> =
        lines.iter().zip(&verdicts).zip(&expected).filter(|((_, v), e)| v != e).take(5).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(verdicts.len(), n);
}

/// Random specifiers and versions with as many release parts. A pre-release has no zero at the end of
/// its release: `>= 1` stands for `>=1.0`, and lets `1.0~rc1` in, as bounds lose their zeros.
const SPECIFIERS: &str = "
import random, sys
from packaging.specifiers import SpecifierSet
r = random.Random(440)
def release(parts, zero=True):
    numbers = [r.choice([0, 1, 2, 3, 10]) for _ in range(parts)]
    if not zero and numbers[-1] == 0: numbers[-1] = 1
    return '.'.join(map(str, numbers))
def pre(): return r.choice(['a', 'b', 'rc']) + str(r.randrange(3))
for _ in range(int(sys.argv[1])):
    parts = r.randrange(2, 4)
    op = r.choice(['==', '!=', '<=', '>=', '<', '>', '~=', '==*', '!=*', '==='])
    with_pre = op in ('>=', '<', '==', '!=') and r.random() < 0.2
    bound = release(parts, not with_pre) + (pre() if with_pre else '')
    if op.endswith('*'): specifier = op[:2] + bound.rsplit('.', 1)[0] + '.*'
    else: specifier = op + bound
    kind = r.random()
    if kind < 0.25: version = release(parts, False) + pre()
    elif kind < 0.45: version = release(parts) + '.post' + str(r.randrange(3))
    else: version = release(parts)
    if r.random() < 0.2: version = bound
    print(specifier, version, int(SpecifierSet(specifier).contains(version, prereleases=True)))
";

const EVALUATE: &str = "
use strict; use warnings; use Dpkg::Deps;
while (<STDIN>) {
    chomp; my ($version, $relation) = split / /, $_, 2;
    my $facts = Dpkg::Deps::KnownFacts->new();
    $facts->add_installed_package('x', $version, 'amd64', 'no');
    my $deps = deps_parse($relation) or die $relation;
    print(($deps->get_evaluation($facts) ? 1 : 0), qq(\\n));
}
";

#[test]
fn dpkg_takes_for_a_dependency_what_packaging_takes() {
    // An evaluation of dpkg's takes ten times as long as a comparison.
    let n = pairs() / 4;
    let lines = ask(&["python3", "-c"], SPECIFIERS, &[n.to_string()], String::new());
    assert_eq!(lines.len(), n);
    let mut input = String::new();
    let mut expected = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        let relation = relations("x", &words[0].parse().unwrap(), 0, None).join(", ");
        // As built here, revised, and as the distribution repacks.
        let end = ["-1", "+dfsg-2", "+ds1-1", "-1+deb12u1"][at % 4];
        input += &format!("{}{end} {relation}\n", debian(&words[1].parse().unwrap(), 0));
        expected.push(words[2].to_owned());
    }
    let asked: Vec<&str> = input.lines().collect();
    let verdicts = ask(&["perl", "-e"], EVALUATE, &[], input.clone());
    let wrong: Vec<_> = lines
        .iter()
        .zip(&asked)
        .zip(verdicts.iter().zip(&expected))
        .filter(|(_, (verdict, expected))| verdict != expected)
        .map(|((line, asked), _)| format!("{line}: {asked}"))
        .collect();
    assert!(wrong.is_empty(), "{} of {n}: {:#?}", wrong.len(), &wrong[..wrong.len().min(12)]);
    assert_eq!(verdicts.len(), n);
}
