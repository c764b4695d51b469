//! `bk-repo key`

#![allow(clippy::unwrap_used)]

mod common;

use common::{World, run};

#[test]
fn keys_are_made_listed_and_exported() {
    let world = World::new();
    let ed = world.bk(&["key", "create", "--name", "Ann B", "--email", "ann@example.com"]).ok();
    let rsa = world.bk(&["key", "create", "--rsa"]).ok();
    let mut listed: Vec<String> =
        world.bk(&["key", "list"]).ok().lines().map(str::to_owned).collect();
    listed.sort();
    let mut both = vec![ed.trim().to_owned(), rsa.trim().to_owned()];
    both.sort();
    assert_eq!(listed, both);
    let armored = world.bk(&["key", "export", ed.trim()]).ok();
    world.write("key.asc", &armored);
    std::fs::create_dir(world.path("gnupg")).unwrap();
    let home = ["--homedir", "gnupg", "--batch", "--with-colons"];
    let shown = run(&world.path(""), "gpg", &[&home[..], &["--show-keys", "key.asc"]].concat());
    assert!(shown.contains(&format!("fpr:::::::::{}:", ed.trim())), "{shown}");
    assert!(shown.contains("Ann B <ann@example.com>"));
    world.bk(&["init", "repo", "--key", rsa.trim()]).ok();
    let apt = world.apt_file();
    apt.update(&[]);
    world.bk(&["init", "repo", "--key", ed.trim()]).code(2).says("key rotate");
}

#[test]
fn a_key_of_gpg_is_imported_with_its_passphrase_and_signs_with_its_subkey() {
    let world = World::new();
    std::fs::create_dir(world.path("gnupg")).unwrap();
    std::fs::set_permissions(
        world.path("gnupg"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    let gpg = |args: &[&str]| {
        let home = [
            "--homedir",
            "gnupg",
            "--batch",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "secret",
        ];
        run(&world.path(""), "gpg", &[&home[..], args].concat())
    };
    gpg(&["--quick-gen-key", "C <c@example.com>", "ed25519", "cert", "never"]);
    let keys = gpg(&["--with-colons", "--list-keys"]);
    let fingerprint = keys.lines().find_map(|l| l.strip_prefix("fpr:::::::::")).unwrap();
    let fingerprint = fingerprint.trim_end_matches(':');
    gpg(&["--quick-add-key", fingerprint, "ed25519", "sign", "never"]);
    gpg(&["--armor", "--output", "secret.asc", "--export-secret-keys"]);
    run(&world.path(""), "gpgconf", &["--homedir", "gnupg", "--kill", "all"]);
    world.write("passphrase", "secret\n");
    world.write("wrong", "other\n");
    world
        .bk(&["key", "import", "secret.asc", "--passphrase-file", "wrong"])
        .code(2)
        .says("passphrase");
    let out = world.bk(&["key", "import", "secret.asc", "--passphrase-file", "passphrase"]).ok();
    assert_eq!(out.trim(), fingerprint);
    world.bk(&["init", "repo"]).ok();
    world.bk(&["check", "repo"]).ok();
    world.apt_file().update(&[]);
    world.write("no.asc", "no key");
    world.bk(&["key", "import", "no.asc"]).code(1).says("cannot import 'no.asc'");
}

#[test]
fn rotation_overlaps_so_that_clients_with_either_key_go_on() {
    let world = World::new();
    world.bk(&["init", "repo"]).ok();
    let old = world.apt_file();
    old.update(&[]);
    let both = world.bk(&["key", "rotate", "repo"]).ok();
    assert_eq!(both.lines().count(), 2);
    world.bk(&["check", "repo"]).ok();
    // A client that has only the old key.
    old.update(&[]);
    assert_eq!(
        world.bk(&["key", "rotate", "repo", "--finish"]).ok(),
        both.lines().nth(1).unwrap().to_owned() + "\n"
    );
    let refused = old.get(&["update"]);
    assert!(refused.code != 0 && refused.stderr.contains("NO_PUBKEY"), "{}", refused.stderr);
    world.apt_file().update(&[]);
    world.bk(&["check", "repo"]).ok();
    std::fs::remove_dir_all(world.path("root")).unwrap();
    let deb = world.deb("a", "1", "all", "");
    world.bk(&["add", "repo", &deb]).code(1).says("cannot sign").says("key import");
}
