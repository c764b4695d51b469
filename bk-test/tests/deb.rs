//! `bk-test run --deb`, with the real apt-get and dpkg; as root, as where packages are installed.

#![allow(clippy::unwrap_used)]

mod common;

use common::World;

#[test]
fn an_installed_package_is_tested_and_nothing_of_it_is_left() {
    let world = World::new();
    let control = "Package: python3-bk-test-demo\nVersion: 1.0-1\nArchitecture: all\n\
        Maintainer: N <n@example.com>\nDepends: python3\nDescription: d\n";
    world.write("deb/DEBIAN/control", control);
    world.executable(
        "deb/DEBIAN/postinst",
        "#!/bin/sh\ntouch /bk-test-was-here /var/lib/bk-test-was-here\n",
    );
    world.write("deb/usr/lib/python3/dist-packages/bk_demo/__init__.py", "where = 'installed'\n");
    world.run("dpkg-deb", &["--root-owner-group", "-b", "deb", "demo.deb"]).ok();
    // The sources are of another opinion.
    world.write("p/bk_demo/__init__.py", "where = 'sources'\n");
    world.write(
        "p/tests/test_it.py",
        "import os, unittest, bk_demo\nclass A(unittest.TestCase):\n    \
         def test_a(self): self.assertEqual(bk_demo.where, 'installed')\n    \
         def test_b(self): self.assertTrue(os.path.exists('/bk-test-was-here'))\n    \
         def test_c(self): open('/usr/lib/python3/dist-packages/bk_left.py', 'w').close()\n    \
         def test_d(self): open('/dev/null', 'w').write('x'); os.rename('/dev/stdin', '/dev/bk'); os.remove('/dev/bk')\n    \
         def test_e(self): os.kill(os.getpid(), 9)\n    \
         def test_f(self): self.fail('no')\n",
    );
    if !rustix::process::geteuid().is_root() {
        world.bk(&["--root", "r", "run", "p", "--deb", "demo.deb"]).code(1).says("only root");
        return;
    }
    let devices = || std::fs::read_dir("/dev").unwrap().count();
    let devices_before = devices();
    let before = world.run("dpkg", &["-l"]).ok();
    let ran = world.bk(&["--root", "r", "run", "p", "--deb", "demo.deb"]).code(1);
    assert_eq!(ran.stdout, "test_it.A.test_e\ntest_it.A.test_f\n", "{}", ran.stderr);
    ran.says("4 passed, 2 failed");
    assert_eq!(world.run("dpkg", &["-l"]).ok(), before);
    assert_eq!(devices(), devices_before);
    for path in [
        "/bk-test-was-here",
        "/var/lib/bk-test-was-here",
        "/usr/lib/python3/dist-packages/bk_left.py",
    ] {
        assert!(!std::path::Path::new(path).exists(), "{path}");
    }
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(world.path("r").to_str().unwrap()), "{mounts}");
    // What cannot be installed is apt's to say.
    world.write("deb/DEBIAN/control", control.replace("python3\n", "no-such-package-anywhere\n"));
    world.run("dpkg-deb", &["--root-owner-group", "-b", "deb", "bad.deb"]).ok();
    world
        .bk(&["--root", "r", "run", "p", "--deb", "bad.deb"])
        .code(1)
        .says("no-such-package-anywhere");
    // Who may not is told what else there is.
    let bk = env!("CARGO_BIN_EXE_bk-test");
    let root = world.path("other");
    std::fs::create_dir(&root).unwrap();
    let words = ["chmod", "-R", "a+rwX", world.path(".").to_str().unwrap()].map(str::to_owned);
    world.run(&words[0], &words[1..].iter().map(String::as_str).collect::<Vec<_>>()).ok();
    let nobody = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        bk,
        "--root",
        "other",
        "run",
        "p",
        "--deb",
        "demo.deb",
    ];
    world.run("setpriv", &nobody).code(1).says("only root").says("bk-vm test");
}
