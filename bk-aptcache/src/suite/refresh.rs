//! Asking archives for new sets, and taking them whole.

use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use bk::http::http_body_util::{BodyExt, Limited};
use bk::http::hyper::header::{self, HeaderMap, HeaderValue};
use bk::http::hyper::{Method, StatusCode};
use bk::http::tokio;

use super::{Form, Set, Suite, Suites, WAIT, lock, millis, write};
use crate::client::Client;
use crate::keyring::Keyring;
use crate::release::Release;
use crate::store::{Store, USE};
use crate::transfer::{Failure, Order, Phase, date};
use crate::upstream::Mirror;

/// An archive that was asked for a suite less than so long ago is not asked again.
const ASKED: Duration = Duration::from_secs(2);

/// Release files have some hundred KiB.
const RELEASE: usize = 16 << 20;

/// How many former sets of a suite are known by heart, for clients that have them.
const HISTORY: usize = 3;

/// An index nobody asked for in this time is no longer fetched with its set.
const WANTED: Duration = Duration::from_secs(30 * 86_400);

impl Suites {
    /// The current set of a suite, its archive asked where that is due; and whether the archive did
    /// not answer. A client waits for a new set a while, and then gets the old one.
    pub async fn current(
        self: &Arc<Self>,
        suite: &Arc<Suite>,
        form: Form,
    ) -> Result<(Arc<Set>, bool), Failure> {
        let held = suite.set(form);
        if let Some(set) = held.as_ref().filter(|_| self.was_asked(suite, form)) {
            return Ok((set.clone(), lock(&suite.trouble).is_some()));
        }
        let (suites, of) = (self.clone(), suite.clone());
        // Goes on though the client may leave.
        let refresh = tokio::spawn(async move { suites.refresh(&of, form).await });
        let Some(held) = held else {
            return match refresh.await {
                Ok(done) => {
                    done?;
                    let set = suite.set(form).ok_or_else(|| bad("it is gone again".into()))?;
                    Ok((set, false))
                }
                Err(e) => Err(bad(e.to_string())),
            };
        };
        let done = tokio::time::timeout(WAIT, refresh).await;
        let failed = !matches!(done, Ok(Ok(Ok(()))));
        Ok((suite.set(form).unwrap_or(held), failed))
    }

    fn was_asked(&self, suite: &Suite, form: Form) -> bool {
        let asked = suite.asked[form as usize].load(Ordering::Relaxed);
        asked > 0 && millis().saturating_sub(asked) < ASKED.as_millis() as u64
    }

    async fn refresh(self: &Arc<Self>, suite: &Arc<Suite>, form: Form) -> Result<(), Failure> {
        let _gate = suite.gate.lock().await;
        if self.was_asked(suite, form) && suite.set(form).is_some() {
            return Ok(());
        }
        let client = self.fetcher.client();
        let mut failure = bad("no mirror has it".into());
        for mirror in suite.upstream.order() {
            match self.ask(&client, suite, form, mirror).await {
                Ok(()) => {
                    suite.asked[form as usize].store(millis(), Ordering::Relaxed);
                    suite.agreed.store(millis() / 1000, Ordering::Relaxed);
                    self.used(suite, form);
                    *lock(&suite.trouble) = None;
                    return Ok(());
                }
                Err(failed) => {
                    self.console.info(&format!("'{}': {}", suite.key, failed.message));
                    failure = failed;
                }
            }
        }
        if suite.set(form).is_some() {
            suite.asked[form as usize].store(millis(), Ordering::Relaxed);
            *lock(&suite.trouble) = Some(failure.message.clone());
        }
        Err(failure)
    }

    /// Notes on disk that a suite is used, so that what it names is kept.
    fn used(&self, suite: &Suite, form: Form) {
        let held = self.store.get(&format!("{}/{}", suite.key, form.name()));
        let now = (millis() / 1000).cast_signed();
        if let Ok(Some(held)) = held
            && now - held.used > USE.as_secs().cast_signed()
        {
            Store::touch(&held.file);
        }
    }

    /// Asks one mirror, and takes the set it has if that is a newer one and can be had whole.
    async fn ask(
        self: &Arc<Self>,
        client: &Client,
        suite: &Arc<Suite>,
        form: Form,
        mirror: &Mirror,
    ) -> Result<(), Failure> {
        let held = suite.set(form);
        let below = |name: &str| match suite.path() {
            "" => name.to_owned(),
            path => format!("{path}/{name}"),
        };
        let since = held.as_ref().map(|set| set.modified);
        let name = below(form.name());
        let Some((text, modified)) = fetch(client, mirror, &name, since).await? else {
            return Ok(());
        };
        if held.as_ref().is_some_and(|set| set.release.bytes() == text) {
            return Ok(());
        }
        let signature = match form {
            Form::Signed => None,
            Form::Detached => {
                let signature = match fetch(client, mirror, &below("Release.gpg"), None).await {
                    Ok(signature) => signature.map(|(bytes, _)| bytes),
                    Err(failure) if failure.status == StatusCode::NOT_FOUND => None,
                    Err(failure) => return Err(failure),
                };
                // They must be of one set: the text is still the one that was signed.
                match fetch(client, mirror, &name, None).await? {
                    Some((again, _)) if again == text => {}
                    _ => return Err(bad(format!("'{}' changes just now", mirror.base))),
                }
                signature
            }
        };
        let wrong = |why: String| bad(format!("'{}' has a wrong {name}: {why}", mirror.base));
        let release = Release::parse(text, form == Form::Signed);
        let release = release.map_err(|e| wrong(e.to_string()))?;
        let older = held.as_ref().is_some_and(|set| release.date < set.release.date);
        if older {
            return Err(bad(format!("'{}' has an older {name} than is known", mirror.base)));
        }
        if let Some(keyring) = &suite.upstream.keyring {
            let (keyring, dir) = (Keyring::new(keyring), self.store.inside("parts"));
            let console = self.console.clone();
            let (text, proof) = (release.bytes().to_vec(), signature.clone());
            let verify = move || keyring.verify(&text, proof.as_deref(), &dir, &console);
            let verified = tokio::task::spawn_blocking(verify).await;
            verified.unwrap_or_else(|e| Err(e.into())).map_err(|e| wrong(e.to_string()))?;
        }
        let modified = modified.unwrap_or_else(|| (millis() / 1000).cast_signed());
        let set = Set { release, signature, modified, tables: RwLock::default() };
        self.adopt(suite, form, set).await
    }

    /// Fetches the indexes of a new set that clients ask for, and then makes it the current one.
    async fn adopt(
        self: &Arc<Self>,
        suite: &Arc<Suite>,
        form: Form,
        set: Set,
    ) -> Result<(), Failure> {
        self.forget_unused(suite);
        let wanted: Vec<String> = lock(&suite.wanted).iter().cloned().collect();
        let mut transfers = Vec::new();
        for path in &wanted {
            let Some(expected) = set.release.expected(path) else { continue };
            let index = self.known(suite, set.release.by_hash, path, expected);
            if self.store.identity(&index.key).is_some() {
                continue;
            }
            let (transfer, _) = self.fetcher.fetch(Order {
                upstream: suite.upstream.clone(),
                key: index.key,
                sources: index.sources,
                expected: vec![expected],
                since: None,
                keep: true,
            });
            transfers.push((path, transfer.follow()));
        }
        for (path, mut state) in transfers {
            let ended = state.wait_for(|p| !matches!(p.phase, Phase::Running)).await;
            match ended.map(|progress| progress.phase.clone()) {
                Ok(Phase::Done(_)) => {}
                Ok(Phase::Failed(failure)) => {
                    let message = format!("the new set has no '{path}' yet: {}", failure.message);
                    return Err(bad(message));
                }
                _ => return Err(bad(format!("the new set has no '{path}' yet"))),
            }
        }
        let (suites, of) = (self.clone(), suite.clone());
        let work = move || suites.publish(&of, form, set, &wanted);
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|e| Err(e.into())).map_err(|e| bad(e.to_string()))
    }

    fn publish(&self, suite: &Suite, form: Form, set: Set, wanted: &[String]) -> bk::Result<()> {
        for path in wanted {
            self.make_table(suite, &set, path);
        }
        let time = Duration::from_secs(set.modified.max(0).cast_unsigned());
        let put = |name: &str, bytes: &[u8]| -> std::io::Result<()> {
            let mut part = self.store.scratch()?;
            let written = std::io::Write::write_all(&mut part.file, bytes);
            let key = format!("{}/{name}", suite.key);
            let time = SystemTime::UNIX_EPOCH + time;
            let done = written.and_then(|()| self.store.commit(&part, &key, time, None));
            if done.is_err() {
                part.remove();
            }
            done
        };
        let keep = || {
            match (&set.signature, form) {
                (Some(signature), _) => put("Release.gpg", signature)?,
                (None, Form::Detached) => {
                    self.store.remove(&format!("{}/Release.gpg", suite.key))?;
                }
                (None, Form::Signed) => {}
            }
            put(form.name(), set.release.bytes())
        };
        // A disk that takes nothing is no reason to serve an old set.
        if let Err(error) = keep() {
            self.console.warn(&format!("cannot keep '{}/{}': {error}", suite.key, form.name()));
        }
        for path in wanted {
            let own = format!("{}/{path}", suite.key);
            match set.release.expected(path) {
                Some(expected) => {
                    drop(self.store.alias(&suite.index_key(path, &expected), &own));
                }
                None => {
                    lock(&suite.wanted).remove(path);
                    drop(self.store.remove(&own));
                }
            }
        }
        let former = write(&suite.sets)[form as usize].replace(Arc::new(set));
        if let Some(former) = former {
            let mut history = lock(&suite.history);
            history.push_front(former);
            history.truncate(HISTORY);
        }
        self.epoch.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn forget_unused(&self, suite: &Suite) {
        let now = (millis() / 1000).cast_signed();
        let unused = |path: &String| {
            let held = self.store.get(&format!("{}/{path}", suite.key)).ok().flatten();
            held.is_some_and(|held| now - held.used > WANTED.as_secs().cast_signed())
        };
        lock(&suite.wanted).retain(|path| !unused(path));
    }
}

fn bad(message: String) -> Failure {
    Failure { status: StatusCode::BAD_GATEWAY, message, retry_after: None }
}

/// Fetches a small file whole: its bytes and when it was changed; nothing if it was not changed.
async fn fetch(
    client: &Client,
    mirror: &Mirror,
    path: &str,
    since: Option<i64>,
) -> Result<Option<(Vec<u8>, Option<i64>)>, Failure> {
    let mut headers = HeaderMap::new();
    if let Some(since) = since {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(since.max(0).cast_unsigned());
        let value = HeaderValue::from_str(&bk::http::http_date(time));
        headers.extend(value.ok().map(|value| (header::IF_MODIFIED_SINCE, value)));
    }
    let asked = client.ask(&Method::GET, mirror, path, &headers).await;
    let response = asked.map_err(|fault| {
        mirror.failed();
        bad(fault.message().to_owned())
    })?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if since.is_some() => return Ok(None),
        status => {
            let told = match status.as_u16() {
                401 | 403 | 404 | 410 | 429 | 451 | 503 => status,
                _ => StatusCode::BAD_GATEWAY,
            };
            let message = format!("'{}' answers with status {status} to '{path}'", mirror.base);
            return Err(Failure { status: told, message, retry_after: None });
        }
    }
    let modified = response.headers().get(header::LAST_MODIFIED);
    let modified = modified.and_then(|v| v.to_str().ok()).and_then(date);
    let body = Limited::new(response.into_body(), RELEASE).collect();
    let broke = |why: String| bad(format!("'{}' breaks off '{path}': {why}", mirror.base));
    let body = tokio::time::timeout(3 * WAIT, body).await;
    let body = body.map_err(|_| broke("it takes too long".into()))?;
    let bytes = body.map_err(|e| broke(e.to_string()))?.to_bytes().to_vec();
    Ok(Some((bytes, modified)))
}
