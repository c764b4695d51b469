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

/// What gpgv and sqv say of a repository's signatures with its public keys.
fn verify(world: &World) {
    world.bk(&["key", "export", "repo", "--binary", "-o", "ring.gpg"]).ok();
    let ring = world.path("ring.gpg");
    let ring = ring.to_str().unwrap();
    let dist = world.path("repo/dists/stable");
    run(&dist, "gpgv", &["--keyring", ring, "InRelease"]);
    run(&dist, "gpgv", &["--keyring", ring, "Release.gpg", "Release"]);
    run(&dist, "sqv", &["--keyring", ring, "Release.gpg", "Release"]);
}

#[test]
fn a_locked_key_signs_with_its_passphrase_from_a_file_or_a_descriptor() {
    let world = World::new();
    world.write("pass", "open sesame\n");
    world.write("wrong", "x\n");
    let deb = world.deb("a", "1", "all", "");
    let create = ["key", "create", "--subkey", "--passphrase-file", "pass"];
    let key = world.bk(&create).ok();
    let file = world.path("root/var/lib/buildkit/key").join(format!("{}.asc", key.trim()));
    let packets = run(&world.path(""), "gpg", &["--list-packets", file.to_str().unwrap()]);
    assert!(packets.contains("iter+salt S2K") || packets.contains("S2K"), "{packets}");
    world.bk(&["init", "repo"]).code(1).says("is locked").says("--passphrase-file");
    world.bk(&["init", "repo", "--passphrase-file", "wrong"]).code(2).says("does not open it");
    world.bk(&["init", "repo", "--passphrase-file", "pass"]).ok();
    world.bk(&["add", "repo", &deb]).code(1).says("is locked");
    assert_eq!(world.bk(&["list", "repo"]).ok(), "");
    let mut command = world.command(&["add", "repo", &deb, "--passphrase-fd", "0"]);
    command.stdin(std::fs::File::open(world.path("pass")).unwrap());
    common::Ran::new(command.output().unwrap()).ok();
    verify(&world);
    world.apt_file().update(&[]);
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    // Never in the arguments.
    world.bk(&["add", "repo", &deb, "--passphrase", "x"]).code(2);
}

#[test]
fn gpg_agent_knows_the_passphrase() {
    let world = World::new();
    // The path of a socket is short.
    let home = tempfile::Builder::new().prefix("bk").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    bk::file::write(&home.path().join("gpg-agent.conf"), "allow-preset-passphrase\n").unwrap();
    world.write("pass", "open sesame\n");
    let key = world.bk(&["key", "create", "--passphrase-file", "pass"]).ok();
    let home_text = home.path().to_str().unwrap().to_owned();
    let gnupg = |program: &str, args: &[&str]| {
        let mut command = std::process::Command::new(program);
        command.args(args).env("GNUPGHOME", &home_text);
        common::Ran::new(command.output().unwrap()).ok()
    };
    // 6f70656e20736573616d65 is the passphrase in hex.
    let preset = format!("PRESET_PASSPHRASE bk-repo:{} -1 6f70656e20736573616d65", key.trim());
    gnupg("gpg-connect-agent", &[&preset, "/bye"]);
    let mut command = world.command(&["init", "repo", "--passphrase-agent"]);
    let ran = common::Ran::new(command.env("GNUPGHOME", &home_text).output().unwrap());
    gnupg("gpgconf", &["--kill", "all"]);
    ran.ok();
    verify(&world);
}

#[test]
fn a_key_expires_and_is_extended() {
    let world = World::new();
    let deb = world.deb("a", "1", "all", "");
    let key = world.bk(&["key", "create", "--expire", "1d"]).ok();
    let key = key.trim();
    let json = world.bk(&["key", "list", "--json"]).ok();
    assert!(json.contains("\"expires\":\"20"), "{json}");
    world.bk(&["init", "repo"]).ok();
    verify(&world);
    world.write("key.asc", world.bk(&["key", "export", "repo"]).ok());
    std::fs::create_dir(world.path("gnupg")).unwrap();
    let show = ["--homedir", "gnupg", "--batch", "--with-colons", "--show-keys"];
    let expiry = || {
        world.write("key.asc", world.bk(&["key", "export", "repo"]).ok());
        let shown = run(&world.path(""), "gpg", &[&show[..], &["key.asc"]].concat());
        let public = shown.lines().find(|line| line.starts_with("pub:")).unwrap().to_owned();
        let field = |n: usize| public.split(':').nth(n).unwrap().to_owned();
        (field(5).parse::<u64>().unwrap(), field(6).parse::<u64>().ok())
    };
    let (created, expires) = expiry();
    assert_eq!(expires, Some(created + 24 * 3600));
    let later = (created + 2 * 24 * 3600).to_string();
    let mut command = world.command(&["add", "repo", &deb]);
    command.env("SOURCE_DATE_EPOCH", &later);
    common::Ran::new(command.output().unwrap()).code(1).says("expired").says("key extend");
    world.bk(&["key", "extend", key, "--expire", "2w", "repo"]).ok();
    let (_, expires) = expiry();
    assert!(expires.unwrap() >= created + 14 * 24 * 3600);
    let mut command = world.command(&["add", "repo", &deb]);
    command.env("SOURCE_DATE_EPOCH", &later);
    common::Ran::new(command.output().unwrap()).ok();
    world.bk(&["key", "extend", key, "--never", "repo"]).ok();
    assert_eq!(expiry().1, None);
    assert_eq!(world.bk(&["check", "repo"]).ok(), "");
    world.bk(&["key", "extend", key]).code(2);
}

#[test]
fn several_keys_sign_and_either_is_enough() {
    let world = World::new();
    let ed = world.bk(&["key", "create"]).ok();
    let rsa = world.bk(&["key", "create", "--rsa", "--subkey"]).ok();
    world.bk(&["init", "repo", "--key", ed.trim(), "--key", rsa.trim()]).ok();
    verify(&world);
    let apt = world.apt_file();
    apt.update(&[]);
    for key in [&ed, &rsa] {
        let armored = world.bk(&["key", "export", key.trim()]).ok();
        world.write("one.asc", armored);
        let (repo, key) = (world.repo(), world.path("one.asc"));
        world.write(
            "apt/test.sources",
            format!(
                "Types: deb\nURIs: file:{}\nSuites: stable\nComponents: main\nSigned-By: {}\n",
                repo.display(),
                key.display()
            ),
        );
        apt.forget();
        apt.update(&[]);
    }
}
