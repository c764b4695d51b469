//! Keys and signatures that apt accepts.
//!
//! Keys are v4, `Ed25519Legacy` or RSA: gpgv and sqv of Debian 12 know neither v6 keys nor the new
//! numbers of the curves. Nothing here runs gpg.

pub mod passphrase;
pub mod ring;
mod validity;

use std::io::Read;

use bk::{Error, Result, Status};
use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, Deserializable, DetachedSignature, KeyType,
    SecretKeyParamsBuilder, SignedPublicKey, SignedPublicSubKey, SignedSecretKey,
    SubkeyParamsBuilder,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{Duration, KeyDetails, KeyVersion, Password, SigningKey, Timestamp, VerifyingKey};

/// The kinds of keys that are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// EdDSA over Curve25519: small and quick.
    Ed25519,
    /// RSA with 4096 bits, for clients before 2016.
    Rsa4096,
}

/// A key that can sign.
#[derive(Clone, Debug)]
pub struct SecretKey {
    key: SignedSecretKey,
}

/// A key that signatures can be checked with.
#[derive(Clone, Debug)]
pub struct PublicKey {
    key: SignedPublicKey,
}

/// What signing a Release file gives.
pub struct Signed {
    /// The file `InRelease`.
    pub in_release: String,
    /// The file `Release.gpg`.
    pub detached: String,
}

fn failed(what: &str) -> impl FnOnce(pgp::errors::Error) -> Error {
    let what = what.to_owned();
    move |e| Error::from(e).context(what)
}

fn fingerprint(key: &impl KeyDetails) -> String {
    format!("{:X}", key.fingerprint())
}

impl SecretKey {
    /// Makes a key for `user`, `Name <email>`, made at `created` seconds since 1970. With `subkey`,
    /// a subkey signs, and the primary key can be kept elsewhere.
    pub fn generate(user: &str, algorithm: Algorithm, created: u32, subkey: bool) -> Result<Self> {
        let key_type = match algorithm {
            Algorithm::Ed25519 => KeyType::Ed25519Legacy,
            Algorithm::Rsa4096 => KeyType::Rsa(4096),
        };
        let mut builder = SecretKeyParamsBuilder::default();
        builder
            .version(KeyVersion::V4)
            .key_type(key_type.clone())
            .can_certify(true)
            .can_sign(!subkey)
            .created_at(Timestamp::from_secs(created))
            .preferred_hash_algorithms([HashAlgorithm::Sha512].into_iter().collect())
            .primary_user_id(user.to_owned());
        if subkey {
            let mut params = SubkeyParamsBuilder::default();
            params
                .version(KeyVersion::V4)
                .key_type(key_type)
                .can_sign(true)
                .created_at(Timestamp::from_secs(created));
            let params = params.build().map_err(|e| Error::new(e.to_string()))?;
            builder.subkeys(vec![params]);
        }
        let params = builder.build().map_err(|e| Error::new(e.to_string()))?;
        let key = params.generate(rand::thread_rng()).map_err(failed("cannot make a key"))?;
        Ok(SecretKey { key })
    }

    /// Reads a secret key, armored or binary, and refuses one that Debian's verifiers would.
    /// `passphrase` opens it, where it is locked; it is kept open.
    pub fn parse(bytes: &[u8], passphrase: Option<&str>) -> Result<Self> {
        let parsed = match is_armored(bytes) {
            true => SignedSecretKey::from_armor_single(bytes).map(|(key, _)| key),
            false => SignedSecretKey::from_bytes(bytes),
        };
        let key = parsed.map_err(failed("not an OpenPGP secret key"))?;
        key.verify_bindings().map_err(failed("its own signatures are not good"))?;
        usable(&key.primary_key)?;
        let mut key = SecretKey { key };
        if let Some(passphrase) = passphrase {
            key.unlock(passphrase)?;
        }
        Ok(key)
    }

    /// Whether it needs a passphrase before it can sign.
    pub fn is_locked(&self) -> bool {
        let primary = self.key.primary_key.secret_params().is_encrypted();
        let sub = |sub: &pgp::composed::SignedSecretSubKey| sub.key.secret_params().is_encrypted();
        primary || self.key.secret_subkeys.iter().any(sub)
    }

    /// Opens it.
    pub fn unlock(&mut self, passphrase: &str) -> Result<()> {
        let password = Password::from(passphrase);
        let locked = |e| {
            Error::from(e)
                .context("the passphrase does not open it")
                .hint("give the right one with --passphrase-file")
                .status(Status::Usage)
        };
        if self.key.primary_key.secret_params().is_encrypted() {
            self.key.primary_key.remove_password(&password).map_err(locked)?;
        }
        for sub in &mut self.key.secret_subkeys {
            if sub.key.secret_params().is_encrypted() {
                sub.key.remove_password(&password).map_err(locked)?;
            }
        }
        Ok(())
    }

    /// The same key, locked with a passphrase.
    pub fn locked(&self, passphrase: &str) -> Result<Self> {
        let mut locked = self.clone();
        let password = Password::from(passphrase);
        let mut rng = rand::thread_rng();
        let lock = |e| failed("cannot lock the key")(e);
        locked.key.primary_key.set_password(&mut rng, &password).map_err(lock)?;
        for sub in &mut locked.key.secret_subkeys {
            sub.key.set_password(&mut rng, &password).map_err(lock)?;
        }
        Ok(locked)
    }

    /// Until when it is good, in seconds since 1970; `None` for ever.
    pub fn expires(&self) -> Option<i64> {
        validity::expires(&self.key.primary_key, &self.key.details)
    }

    /// Says at `now` that it is good until `expires`, both in seconds since 1970; `None` for ever.
    pub fn set_expiry(&mut self, now: u32, expires: Option<u32>) -> Result<()> {
        let created = self.key.primary_key.created_at().as_secs();
        let bound = self.bound();
        let primary = &self.key.primary_key;
        let public = primary.public_key();
        for user in &mut self.key.details.users {
            let Some(last) = user.signatures.iter().max_by_key(|s| s.created()) else { continue };
            let Some(old) = last.config() else { continue };
            let mut config =
                SignatureConfig::v4(old.typ, primary.algorithm(), HashAlgorithm::Sha512);
            config.hashed_subpackets = old.hashed_subpackets.clone();
            config.hashed_subpackets.retain(|packet| {
                !matches!(
                    packet.data,
                    SubpacketData::SignatureCreationTime(_) | SubpacketData::KeyExpirationTime(_)
                )
            });
            // Of two, verifiers believe the later one.
            let time = Timestamp::from_secs(now.max(bound));
            let add = |data| Subpacket::regular(data);
            let sign = || -> pgp::errors::Result<Signature> {
                config.hashed_subpackets.push(add(SubpacketData::SignatureCreationTime(time))?);
                if let Some(expires) = expires {
                    let valid = Duration::from_secs(expires.saturating_sub(created));
                    config.hashed_subpackets.push(add(SubpacketData::KeyExpirationTime(valid))?);
                }
                config.unhashed_subpackets =
                    vec![add(SubpacketData::IssuerKeyId(primary.legacy_key_id()))?];
                let tag = pgp::types::Tag::UserId;
                config.sign_certification(primary, public, &Password::empty(), tag, &user.id)
            };
            user.signatures = vec![sign().map_err(failed("cannot sign the key"))?];
        }
        Ok(())
    }

    /// The same key, saying of itself what another copy of it says.
    pub fn with_details_of(&self, other: &SecretKey) -> Self {
        let mut key = self.clone();
        key.key.details = other.key.details.clone();
        key
    }

    /// The fingerprint of the primary key, in upper-case hex.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.key.primary_key)
    }

    /// Who it belongs to, as its first user says.
    pub fn user(&self) -> String {
        user(&self.key.details)
    }

    /// The secret key, armored.
    pub fn armored(&self) -> Result<String> {
        let text = self.key.to_armored_string(ArmorOptions::default());
        text.map_err(failed("cannot write a key"))
    }

    /// What others may know of it.
    pub fn public(&self) -> PublicKey {
        PublicKey { key: self.key.to_public_key() }
    }

    /// Since when it says of itself that it is a key. Verifiers refuse older signatures by it.
    fn bound(&self) -> u32 {
        let users = self.key.details.users.iter().flat_map(|user| &user.signatures);
        let subkeys = self.key.secret_subkeys.iter().flat_map(|sub| &sub.signatures);
        let times = users.chain(subkeys).filter_map(|signature| signature.created());
        times.map(|time| time.as_secs()).max().unwrap_or(0)
    }

    /// Signs with the newest subkey that is for signing, else with the primary key, as gpg does.
    fn sign(&self, kind: SignatureType, date: u32, data: &[u8]) -> pgp::errors::Result<Signature> {
        let date = date.max(self.bound());
        let for_signing = self.key.secret_subkeys.iter().rev().find(|sub| {
            sub.signatures.last().is_some_and(|signature| signature.key_flags().sign())
        });
        match for_signing {
            Some(sub) => sign(&sub.key, kind, date, data),
            None => sign(&self.key.primary_key, kind, date, data),
        }
    }
}

fn sign(
    key: &impl SigningKey,
    kind: SignatureType,
    date: u32,
    data: &[u8],
) -> pgp::errors::Result<Signature> {
    let mut config = SignatureConfig::v4(kind, key.algorithm(), HashAlgorithm::Sha512);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(date)))?,
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
    ];
    config.unhashed_subpackets =
        vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
    config.sign(key, &Password::empty(), data)
}

fn user(details: &pgp::composed::SignedKeyDetails) -> String {
    let first = details.users.first();
    first.map(|u| String::from_utf8_lossy(u.id.id()).into_owned()).unwrap_or_default()
}

fn usable(key: &impl KeyDetails) -> Result<()> {
    let good = [PublicKeyAlgorithm::RSA, PublicKeyAlgorithm::EdDSALegacy];
    if key.version() == KeyVersion::V4 && good.contains(&key.algorithm()) {
        return Ok(());
    }
    Err(Error::new("apt of Debian 12 does not accept its kind")
        .hint("take an Ed25519 key as GnuPG 2.2 makes it, or an RSA key, of version 4"))
}

fn is_armored(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"-----BEGIN")
}

/// Signs a Release file with every key. The same bytes, keys and date give the same signatures; a
/// date before a key was made becomes that time.
/// The text must end with a newline.
pub fn sign_release(release: &str, date: i64, keys: &[SecretKey]) -> Result<Signed> {
    let date =
        u32::try_from(date).map_err(|_| Error::new(format!("{date} is no time to sign at")))?;
    for key in keys {
        if key.is_locked() {
            return Err(Error::new(format!("the key {} is locked", key.fingerprint()))
                .hint("say where its passphrase is: --passphrase-file, --passphrase-fd or --passphrase-agent"));
        }
        if let Some(end) = key.expires().filter(|&end| end <= i64::from(date)) {
            let end = jiff::Timestamp::from_second(end).map(|t| t.to_string()).unwrap_or_default();
            return Err(Error::new(format!("the key {} expired at {end}", key.fingerprint()))
                .hint(
                    "'bk-repo key extend' lets it live longer, 'bk-repo key rotate' makes another",
                ));
        }
    }
    let all = |kind: SignatureType, data: &[u8]| -> pgp::errors::Result<Vec<Signature>> {
        keys.iter().map(|key| key.sign(kind, date, data)).collect()
    };
    // The newline before the signature is not part of the text (RFC 9580, 7.1).
    let text = release.strip_suffix('\n').unwrap_or(release);
    let sign = || -> pgp::errors::Result<Signed> {
        let message = CleartextSignedMessage::new_many(text, |normalized| {
            all(SignatureType::Text, normalized.as_bytes())
        })?;
        let signatures = Signatures(all(SignatureType::Binary, release.as_bytes())?);
        let mut detached = Vec::new();
        let kind = pgp::armor::BlockType::Signature;
        pgp::armor::write(&signatures, kind, &mut detached, None, true)?;
        Ok(Signed {
            in_release: message.to_armored_string(ArmorOptions::default())?,
            detached: String::from_utf8_lossy(&detached).into_owned(),
        })
    };
    sign().map_err(failed("cannot sign"))
}

/// Several signatures in one armor.
struct Signatures(Vec<Signature>);

impl pgp::ser::Serialize for Signatures {
    fn to_writer<W: std::io::Write>(&self, writer: &mut W) -> pgp::errors::Result<()> {
        use pgp::packet::PacketTrait;
        self.0.iter().try_for_each(|signature| signature.to_writer_with_header(writer))
    }

    fn write_len(&self) -> usize {
        use pgp::packet::PacketTrait;
        self.0.iter().map(|signature| signature.write_len_with_header()).sum()
    }
}

impl PublicKey {
    /// Reads a public key, armored or binary.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let parsed = match is_armored(bytes) {
            true => SignedPublicKey::from_armor_single(bytes).map(|(key, _)| key),
            false => SignedPublicKey::from_bytes(bytes),
        };
        let key = parsed.map_err(failed("not an OpenPGP public key"))?;
        key.verify_bindings().map_err(failed("its own signatures are not good"))?;
        Ok(PublicKey { key })
    }

    /// The fingerprint of the primary key, in upper-case hex.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.key.primary_key)
    }

    /// Who it belongs to, as its first user says.
    pub fn user(&self) -> String {
        user(&self.key.details)
    }

    /// Until when it is good, in seconds since 1970; `None` for ever.
    pub fn expires(&self) -> Option<i64> {
        validity::expires(&self.key.primary_key, &self.key.details)
    }

    /// The key, armored.
    pub fn armored(&self) -> Result<String> {
        let text = self.key.to_armored_string(ArmorOptions::default());
        text.map_err(failed("cannot write a key"))
    }

    /// The key as `Signed-By` files without armor hold it.
    pub fn binary(&self) -> Result<Vec<u8>> {
        pgp::ser::Serialize::to_bytes(&self.key).map_err(failed("cannot write a key"))
    }

    fn verifies(&self, verify: impl Fn(&dyn Verify) -> bool) -> bool {
        let now = jiff::Timestamp::now().as_second();
        let by_sub =
            |sub: &SignedPublicSubKey| validity::may_sign(sub, now) && verify(&Verifier(&sub.key));
        verify(&Verifier(&self.key.primary_key)) || self.key.public_subkeys.iter().any(by_sub)
    }
}

/// Of keys that signed something, those that are to be believed today; an error if there are only others.
fn believed<'a>(keys: impl Iterator<Item = &'a PublicKey>) -> Result<Vec<&'a PublicKey>> {
    let now = jiff::Timestamp::now().as_second();
    let (mut good, mut faults) = (Vec::new(), Vec::new());
    for key in keys {
        match validity::fault(&key.key, now) {
            None => good.push(key),
            Some(fault) => faults.push(format!("the key {} {fault}", key.fingerprint())),
        }
    }
    match faults.pop() {
        Some(fault) if good.is_empty() => Err(Error::new(fault)
            .hint("sign with a key that is good, or put its renewed public key into the keyring")),
        _ => Ok(good),
    }
}

/// Several keys in one armor, as apt reads them in one file.
pub fn armor_keys(keys: &[PublicKey]) -> Result<String> {
    struct Keys<'a>(&'a [PublicKey]);
    impl pgp::ser::Serialize for Keys<'_> {
        fn to_writer<W: std::io::Write>(&self, writer: &mut W) -> pgp::errors::Result<()> {
            self.0.iter().try_for_each(|key| key.key.to_writer(writer))
        }

        fn write_len(&self) -> usize {
            self.0.iter().map(|key| key.key.write_len()).sum()
        }
    }
    let mut text = Vec::new();
    pgp::armor::write(&Keys(keys), pgp::armor::BlockType::PublicKey, &mut text, None, true)
        .map_err(failed("cannot write a key"))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A primary key or a subkey.
trait Verify {
    fn cleartext(&self, message: &CleartextSignedMessage) -> bool;
    fn detached(&self, signature: &DetachedSignature, data: &[u8]) -> bool;
}

struct Verifier<'a, K>(&'a K);

impl<K: VerifyingKey> Verify for Verifier<'_, K> {
    fn cleartext(&self, message: &CleartextSignedMessage) -> bool {
        message.verify(self.0).is_ok()
    }

    fn detached(&self, signature: &DetachedSignature, data: &[u8]) -> bool {
        signature.verify(self.0, data).is_ok()
    }
}

/// The text of a file signed in the clear, with its last newline, if each of `keys` signed it.
pub fn verify_cleartext(message: &str, keys: &[PublicKey]) -> Result<String> {
    let (message, _) =
        CleartextSignedMessage::from_string(message).map_err(failed("not a signed text"))?;
    for key in keys {
        if !key.verifies(|part| part.cleartext(&message)) {
            return Err(Error::new(format!("no good signature by {}", key.fingerprint())));
        }
    }
    Ok(message.signed_text().replace("\r\n", "\n") + "\n")
}

/// The text of a file signed in the clear and which of `keys` signed it, if one did. A signature by
/// keys that have expired or were revoked is an error.
pub fn signed_by<'a>(
    message: &str,
    keys: impl IntoIterator<Item = &'a PublicKey>,
) -> Result<(String, Vec<&'a PublicKey>)> {
    let (parsed, _) =
        CleartextSignedMessage::from_string(message).map_err(failed("not a signed text"))?;
    let signers = keys.into_iter().filter(|key| key.verifies(|part| part.cleartext(&parsed)));
    let good = believed(signers)?;
    Ok((parsed.signed_text().replace("\r\n", "\n") + "\n", good))
}

/// Whether one of `keys` signed `data`. A signature by keys that have expired or were revoked is an error.
pub fn verified_by(signature: &str, data: &[u8], keys: &[PublicKey]) -> Result<bool> {
    let (signatures, _) =
        DetachedSignature::from_string_many(signature).map_err(failed("not a signature"))?;
    let signatures: Vec<DetachedSignature> =
        signatures.collect::<Result<_, _>>().map_err(failed("not a signature"))?;
    let good =
        |key: &PublicKey| signatures.iter().any(|s| key.verifies(|part| part.detached(s, data)));
    Ok(!believed(keys.iter().filter(|key| good(key)))?.is_empty())
}

/// Reads all public keys of a keyring, armored or binary. Those whose own signatures are not good
/// are left out.
pub fn read_ring(bytes: &[u8]) -> Result<Vec<PublicKey>> {
    let keys: pgp::errors::Result<Vec<SignedPublicKey>> = match is_armored(bytes) {
        true => SignedPublicKey::from_armor_many(bytes).and_then(|(keys, _)| keys.collect()),
        false => SignedPublicKey::from_bytes_many(bytes).and_then(Iterator::collect),
    };
    let keys = keys.map_err(failed("not a keyring"))?;
    let mut good: Vec<SignedPublicKey> = keys;
    good.iter_mut().for_each(validity::keep_own);
    good.retain(|key| key.verify_bindings().is_ok());
    match good.is_empty() {
        true => Err(Error::new("no key in it has good signatures of its own")),
        false => Ok(good.into_iter().map(|key| PublicKey { key }).collect()),
    }
}

/// Checks that each of `keys` signed `data`.
pub fn verify_detached(signature: &str, data: &[u8], keys: &[PublicKey]) -> Result<()> {
    let (signatures, _) =
        DetachedSignature::from_string_many(signature).map_err(failed("not a signature"))?;
    let signatures: Vec<DetachedSignature> =
        signatures.collect::<Result<_, _>>().map_err(failed("not a signature"))?;
    for key in keys {
        let by_key = |s: &DetachedSignature| key.verifies(|part| part.detached(s, data));
        if !signatures.iter().any(by_key) {
            return Err(Error::new(format!("no good signature by {}", key.fingerprint())));
        }
    }
    Ok(())
}

/// The text inside a signed one, unverified; other text as it is.
pub fn strip_cleartext(text: &[u8]) -> Vec<u8> {
    let lines = || text.split_inclusive(|&b| b == b'\n');
    let head = lines().next().unwrap_or_default().trim_ascii_end();
    if head != b"-----BEGIN PGP SIGNED MESSAGE-----" {
        return text.to_vec();
    }
    lines()
        // The headers of the armor end with an empty line.
        .skip_while(|line| !line.trim_ascii().is_empty())
        .skip(1)
        .take_while(|line| !line.starts_with(b"-----BEGIN PGP SIGNATURE-----"))
        .flat_map(|line| line.strip_prefix(b"- ").unwrap_or(line))
        .copied()
        .collect()
}

/// Reads a key file of at most 1 MiB: GnuPG's largest with many signatures have some 100 KiB.
pub fn read_key(reader: impl Read) -> Result<Vec<u8>> {
    const LIMIT: u64 = 1 << 20;
    let mut bytes = Vec::new();
    reader.take(LIMIT + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LIMIT {
        true => Err(Error::new("larger than 1 MiB: no key")),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const RELEASE: &str = "Origin: x\nSuite: stable\n-dash: 1\nSHA256:\n 00 1 a\n";

    fn verified_by(program: &[&str], args: &[&std::path::Path]) -> bool {
        let out = Command::new(program[0]).args(&program[1..]).args(args).output().unwrap();
        out.status.success()
    }

    #[test]
    fn gpgv_and_sqv_accept_what_each_kind_of_key_signs() {
        let make = |algorithm| {
            let key = SecretKey::generate(
                "A <a@example.com>",
                algorithm,
                1_700_000_000,
                algorithm == Algorithm::Rsa4096,
            )
            .unwrap();
            SecretKey::parse(key.armored().unwrap().as_bytes(), None).unwrap()
        };
        let (ed25519, rsa) = (make(Algorithm::Ed25519), make(Algorithm::Rsa4096));
        for keys in [vec![ed25519.clone()], vec![rsa.clone()], vec![rsa, ed25519]] {
            let signed = sign_release(RELEASE, 1_750_000_000, &keys).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let file = |name: &str, bytes: &[u8]| {
                let path = dir.path().join(name);
                bk::file::write(&path, bytes).unwrap();
                path
            };
            let release = file("Release", RELEASE.as_bytes());
            let bad = file("Bad", b"Origin: y\n");
            let detached = file("Release.gpg", signed.detached.as_bytes());
            let in_release = file("InRelease", signed.in_release.as_bytes());
            let text = dir.path().join("text");
            for key in &keys {
                let ring = file("ring.gpg", &key.public().binary().unwrap());
                let ring = ring.to_str().unwrap();
                let sqv = ["sqv", "--keyring", ring];
                assert!(verified_by(&sqv, &[&detached, &release]));
                assert!(!verified_by(&sqv, &[&detached, &bad]));
            }
            let both: Vec<u8> =
                keys.iter().flat_map(|key| key.public().binary().unwrap()).collect();
            let ring = file("both.gpg", &both);
            let gpgv = ["gpgv", "--keyring", ring.to_str().unwrap()];
            assert!(verified_by(&gpgv, &[&detached, &release]));
            assert!(!verified_by(&gpgv, &[&detached, &bad]));
            let out = ["--output".as_ref(), text.as_path(), in_release.as_path()];
            assert!(verified_by(&gpgv, &out));
            // Without the newline at the end, as above.
            assert_eq!(std::fs::read_to_string(&text).unwrap().trim_end(), RELEASE.trim_end());

            let public: Vec<PublicKey> = keys.iter().map(SecretKey::public).collect();
            assert_eq!(verify_cleartext(&signed.in_release, &public).unwrap(), RELEASE);
            verify_detached(&signed.detached, RELEASE.as_bytes(), &public).unwrap();
            assert!(verify_detached(&signed.detached, b"x", &public).is_err());
            let stranger =
                SecretKey::generate("C <c@example.com>", Algorithm::Ed25519, 1, false).unwrap();
            assert!(verify_cleartext(&signed.in_release, &[stranger.public()]).is_err());
            assert_eq!(strip_cleartext(signed.in_release.as_bytes()), RELEASE.as_bytes());
            let again = sign_release(RELEASE, 1_750_000_000, &keys).unwrap();
            assert_eq!(again.in_release, signed.in_release);
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bytes in [&b""[..], b"x", b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nx\n", &[0x99; 64]]
        {
            assert!(SecretKey::parse(bytes, None).is_err());
            assert!(PublicKey::parse(bytes).is_err());
        }
    }
}
