//! Whether a key may still be believed: its expiry and its revocation (RFC 9580, 5.2.1 and 5.2.3.13).

use pgp::composed::{SignedKeyDetails, SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{Signature, SignatureType};
use pgp::types::KeyDetails;

/// Leaves out what others certify of a key: their keys are not at hand, so it can neither be checked nor
/// say anything.
pub fn keep_own(key: &mut SignedPublicKey) {
    let id = key.primary_key.legacy_key_id();
    let own = |signature: &Signature| {
        let issuers = signature.issuer_key_id();
        issuers.is_empty() || issuers.contains(&&id)
    };
    key.details.users.iter_mut().for_each(|user| user.signatures.retain(own));
    key.details.users.retain(|user| !user.signatures.is_empty());
    key.details.user_attributes.iter_mut().for_each(|image| image.signatures.retain(own));
    key.details.user_attributes.retain(|image| !image.signatures.is_empty());
}

/// Until when a key is good, in seconds since 1970: what its latest signature over itself says.
pub fn expires(key: &impl KeyDetails, details: &SignedKeyDetails) -> Option<i64> {
    let of_users = details.users.iter().flat_map(|user| &user.signatures);
    let about = |signature: &&Signature| signature.typ() != Some(SignatureType::CertRevocation);
    end(key, of_users.chain(&details.direct_signatures).filter(about))
}

/// When the latest of some signatures lets a key end.
fn end<'a>(key: &impl KeyDetails, signatures: impl Iterator<Item = &'a Signature>) -> Option<i64> {
    let valid = signatures.max_by_key(|signature| signature.created())?.key_expiration_time()?;
    match valid.as_secs() {
        // RFC 9580, 5.2.3.13: 0 is never.
        0 => None,
        seconds => Some(i64::from(key.created_at().as_secs()) + i64::from(seconds)),
    }
}

/// Why a key, whose own signatures are good, is not to be believed at a time in seconds since 1970.
pub fn fault(key: &SignedPublicKey, now: i64) -> Option<String> {
    if !key.details.revocation_signatures.is_empty() {
        return Some("was revoked".into());
    }
    let end = expires(&key.primary_key, &key.details).filter(|&end| end <= now)?;
    let end = jiff::Timestamp::from_second(end).map(|t| t.to_string()).unwrap_or_default();
    Some(format!("expired at {end}"))
}

/// Whether a subkey, whose bindings are good, may sign at a time in seconds since 1970.
pub fn may_sign(sub: &SignedPublicSubKey, now: i64) -> bool {
    let of = |kind| sub.signatures.iter().filter(move |s| s.typ() == Some(kind));
    let latest = of(SignatureType::SubkeyBinding).max_by_key(|signature| signature.created());
    of(SignatureType::SubkeyRevocation).next().is_none()
        && latest.is_some_and(|signature| signature.key_flags().sign())
        && end(&sub.key, of(SignatureType::SubkeyBinding)).is_none_or(|end| end > now)
}
