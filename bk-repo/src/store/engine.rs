//! Where buckets are: S3 and what speaks it, Google Cloud Storage, Azure Blob Storage.
//!
//! Requests are sent by ureq, as all that is fetched; so there is one HTTP client and one TLS.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bk::http::http_body_util::BodyExt;
use bk::http::hyper::body::{Body, Bytes, Frame};
use bk::{Context, Error, Result, Status};
use object_store::ClientOptions;
use object_store::ObjectStore;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer};
use object_store::azure::{AzureAuthorizer, AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

use super::bucket::AT_ONCE;

/// The services, by the schemes of their URLs.
const SCHEMES: &[&str] = &["s3", "gs", "az"];

/// What S3 and Azure call a bucket that is not there.
const NO_BUCKET: [&str; 2] = ["NoSuchBucket", "ContainerNotFound"];

/// Whether a path is the URL of a bucket.
pub fn is_url(path: &Path) -> bool {
    let scheme = path.to_str().and_then(|text| text.split_once("://"));
    scheme.is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

/// What a connection reads and writes at once: it has two of these, and there may be 32 (ureq's own are of
/// 128 KiB, together 8 MiB). Most packages of Debian are larger, but no longer in sending for it.
const BUFFER: usize = 32 << 10;

/// An answer is read in pieces of this size: what most are less than.
const PIECE: u64 = 64 << 10;

/// What has a bucket, and the place in it.
pub struct Engine {
    /// What asks it.
    pub client: Arc<dyn ObjectStore>,
    /// The place: what the keys begin with, without the slash behind it.
    pub prefix: String,
    /// How people call it: its URL without settings.
    pub shown: PathBuf,
    maker: Option<Maker>,
}

/// How a bucket is made at an address that was given, where that takes no more than to say so.
enum Maker {
    S3 { client: AmazonS3, region: String, url: String },
    Azure { client: MicrosoftAzure, account: String, url: String },
}

impl Engine {
    /// What a URL names: `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`, `gs://BUCKET/PREFIX` or
    /// `az://CONTAINER/PREFIX?account=NAME`. `env` looks up environment variables, of which those of
    /// the service's own tools name the credentials.
    pub fn new(url: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let bad = |why: &str| {
            let hint = "say s3://BUCKET/PREFIX, and ?endpoint=http://HOST:PORT where it is not AWS, \
                        gs://BUCKET/PREFIX or az://CONTAINER/PREFIX?account=NAME";
            Error::new(why)
                .context(format!("'{}' is no bucket's URL", bk::sanitize(url)))
                .hint(hint)
                .status(Status::Usage)
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("it starts otherwise"))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.trim_matches('/');
        if bucket.is_empty() {
            return Err(bad("it names no bucket"));
        }
        let mut settings = Settings::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = bk::http::decode(value).ok_or_else(|| bad("its '%' encode nothing"))?;
            match (scheme, name) {
                (_, "endpoint") => settings.endpoint = Some(value),
                ("s3", "region") => settings.region = Some(value),
                ("az", "account") => settings.account = Some(value),
                _ => return Err(bad(&format!("it has a setting '{name}', which is none"))),
            }
        }
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let found = match scheme {
            "s3" => settings.s3(bucket, env),
            "gs" => settings.google(bucket, env),
            "az" => settings.azure(bucket, env),
            _ => return Err(bad("it starts otherwise")),
        };
        let (client, maker) = found.context(|| format!("cannot use the bucket '{bucket}'"))?;
        let shown = match prefix {
            "" => format!("{scheme}://{bucket}"),
            prefix => format!("{scheme}://{bucket}/{prefix}"),
        };
        Ok(Engine { client, prefix: prefix.to_owned(), shown: shown.into(), maker })
    }

    /// Makes the bucket, where that takes no more than to say so.
    pub async fn make(&self) -> Result<()> {
        let Some(maker) = &self.maker else {
            return Err(Error::new(format!("there is no bucket of '{}'", self.shown.display()))
                .hint("make it with the tools of its service"));
        };
        let (Maker::S3 { url, .. } | Maker::Azure { url, .. }) = maker;
        maker.make().await.context(|| format!("cannot make the bucket '{url}'"))
    }
}

impl Maker {
    async fn make(&self) -> Result<()> {
        let request = |url: &str| http::Request::put(url).body(HttpRequestBody::empty());
        let request = match self {
            Maker::S3 { client, region, url } => {
                let credential = client.credentials().get_credential().await?;
                let mut request = request(url)?;
                let authorizer = AwsAuthorizer::new(&credential, "s3", region);
                authorizer.try_authorize(&mut request, None)?;
                request
            }
            Maker::Azure { client, account, url } => {
                let credential = client.credentials().get_credential().await?;
                let mut request = request(&format!("{url}?restype=container"))?;
                let none = http::HeaderValue::from_static("0");
                request.headers_mut().insert(http::header::CONTENT_LENGTH, none);
                AzureAuthorizer::new(&credential, account).try_authorize(&mut request)?;
                request
            }
        };
        let client = Connector.connect(&ClientOptions::new())?;
        let answer = client.execute(request).await.map_err(said)?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(Error::new(format!("the engine answers {}", answer.status()))),
        }
    }
}

/// What went wrong with a request. What an engine does not answer now it may answer later.
pub fn said(error: impl std::error::Error + 'static) -> Error {
    match Refusal::find(&error) {
        Some(refusal) => refusal.to_error(),
        None => Error::from(error).status(Status::Temporary),
    }
}

type Found = (Arc<dyn ObjectStore>, Option<Maker>);

/// What a URL says beside the place.
#[derive(Default)]
struct Settings {
    endpoint: Option<String>,
    region: Option<String>,
    account: Option<String>,
}

impl Settings {
    fn s3(self, bucket: &str, env: impl Fn(&str) -> Option<String>) -> Result<Found> {
        let region =
            self.region.or_else(|| env("AWS_REGION").or_else(|| env("AWS_DEFAULT_REGION")));
        let region = region.unwrap_or_else(|| "us-east-1".into());
        let endpoint = self.endpoint.or_else(|| env("AWS_ENDPOINT_URL"));
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&region)
            .with_http_connector(Connector);
        for (name, key) in [
            ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
            ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
            ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
        ] {
            if let Some(value) = env(name) {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(endpoint) = &endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(is_plain(endpoint));
        }
        let client = builder.build()?;
        let maker = endpoint.map(|endpoint| Maker::S3 {
            client: client.clone(),
            region,
            url: format!("{}/{bucket}", endpoint.trim_end_matches('/')),
        });
        Ok((Arc::new(client), maker))
    }

    fn google(self, bucket: &str, env: impl Fn(&str) -> Option<String>) -> Result<Found> {
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(bucket)
            .with_http_connector(Connector);
        for (name, key) in [
            ("GOOGLE_SERVICE_ACCOUNT", GoogleConfigKey::ServiceAccount),
            ("GOOGLE_SERVICE_ACCOUNT_KEY", GoogleConfigKey::ServiceAccountKey),
            ("GOOGLE_APPLICATION_CREDENTIALS", GoogleConfigKey::ApplicationCredentials),
        ] {
            if let Some(value) = env(name) {
                builder = builder.with_config(key, value);
            }
        }
        // As Google's own tools call it.
        let mut token = env("CLOUDSDK_AUTH_ACCESS_TOKEN");
        if let Some(endpoint) = &self.endpoint {
            let options = ClientOptions::new().with_allow_http(is_plain(endpoint));
            builder = builder.with_base_url(endpoint).with_client_options(options);
            // Who is no Google asks for no Google account; without one the library asks the machine.
            token = token.or_else(|| Some("none".to_owned()));
        }
        if let Some(token) = token {
            builder = builder.with_bearer_token(token);
        }
        Ok((Arc::new(builder.build()?), None))
    }

    fn azure(self, container: &str, env: impl Fn(&str) -> Option<String>) -> Result<Found> {
        let mut builder = MicrosoftAzureBuilder::new()
            .with_container_name(container)
            .with_http_connector(Connector);
        for (name, key) in [
            ("AZURE_STORAGE_ACCOUNT_KEY", AzureConfigKey::AccessKey),
            ("AZURE_STORAGE_SAS_KEY", AzureConfigKey::SasKey),
            ("AZURE_STORAGE_TOKEN", AzureConfigKey::Token),
            ("AZURE_CLIENT_ID", AzureConfigKey::ClientId),
            ("AZURE_CLIENT_SECRET", AzureConfigKey::ClientSecret),
            ("AZURE_TENANT_ID", AzureConfigKey::AuthorityId),
        ] {
            if let Some(value) = env(name) {
                builder = builder.with_config(key, value);
            }
        }
        let account = self.account.or_else(|| env("AZURE_STORAGE_ACCOUNT_NAME"));
        if let Some(account) = &account {
            builder = builder.with_account(account);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_allow_http(is_plain(endpoint)).with_endpoint(endpoint.clone());
        }
        let client = builder.build()?;
        let maker = account.zip(self.endpoint).map(|(account, endpoint)| Maker::Azure {
            client: client.clone(),
            account,
            url: format!("{}/{container}", endpoint.trim_end_matches('/')),
        });
        Ok((Arc::new(client), maker))
    }
}

fn is_plain(endpoint: &str) -> bool {
    endpoint.starts_with("http://")
}

/// Sends requests with ureq.
#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(120)))
            // Bytes are wanted as they are stored.
            .accept_encoding("identity")
            .max_idle_connections_per_host(AT_ONCE)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .build();
        Ok(HttpClient::new(Sender(agent.into())))
    }
}

/// Sends a request in the thread that asks, which has nothing else to do (see `bucket.rs`).
#[derive(Debug)]
struct Sender(ureq::Agent);

#[async_trait]
impl HttpService for Sender {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let plain = ["GET", "HEAD", "DELETE"].contains(&parts.method.as_str());
        let answer = match plain && body.is_empty() {
            true => self.0.run(http::Request::from_parts(parts, ())),
            false => self.0.run(http::Request::from_parts(parts, &body[..])),
        };
        let (parts, body) = answer.map_err(failed)?.into_parts();
        let mut answer = Answer { first: None, rest: body.into_reader() };
        // The first piece is read at once: where it is all, as mostly, the connection can be used again.
        answer.first = answer.piece().transpose()?;
        if let Some(refusal) =
            Refusal::of(parts.status, answer.first.as_deref().unwrap_or_default())
        {
            return Err(HttpError::new(HttpErrorKind::Unknown, refusal));
        }
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(answer)))
    }
}

/// What an engine will not do however often it is asked.
#[derive(Debug)]
pub struct Refusal {
    status: http::StatusCode,
    /// What the engine calls the reason; empty where it says none.
    code: String,
}

impl Refusal {
    fn of(status: http::StatusCode, body: &[u8]) -> Option<Self> {
        let body = String::from_utf8_lossy(body);
        let code = body.split_once("<Code>").and_then(|(_, rest)| Some(rest.split_once('<')?.0));
        let code = bk::sanitize(code.unwrap_or_default()).to_string();
        let refused = match status.as_u16() {
            // S3's word for a client that was too slow.
            400 => code != "RequestTimeout",
            // Without a bucket there is nothing to create; another object that is missing is an answer.
            404 => NO_BUCKET.contains(&code.as_str()),
            // What is there already or has changed, and what is too much now, the client knows by itself.
            408 | 409 | 412 | 416 | 429 => false,
            304 => false,
            status => (300..500).contains(&status),
        };
        refused.then_some(Refusal { status, code })
    }

    /// The refusal an error comes from, if it does.
    pub fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let all = std::iter::successors(Some(error), |error| error.source());
        all.into_iter().find_map(|error| error.downcast_ref())
    }

    /// Whether there is no such bucket.
    pub fn is_no_bucket(&self) -> bool {
        NO_BUCKET.contains(&self.code.as_str())
    }

    /// What to tell people.
    pub fn to_error(&self) -> Error {
        let (what, hint) = match self.code.as_str() {
            _ if self.is_no_bucket() => (
                "there is no such bucket",
                "'bk-repo init' or 'bk-repo publish' makes it, or the tools of its service",
            ),
            "InvalidBucketName" | "InvalidResourceName" => (
                "the engine takes no bucket of this name",
                "use 3 to 63 small letters, digits and hyphens",
            ),
            "InvalidAccessKeyId" => {
                ("the engine does not know the access key", "set AWS_ACCESS_KEY_ID to one it knows")
            }
            "SignatureDoesNotMatch" => (
                "the secret is not that of the access key",
                "set AWS_SECRET_ACCESS_KEY to what belongs to AWS_ACCESS_KEY_ID",
            ),
            "RequestTimeTooSkewed" => ("the clock is wrong", "set the time of this machine"),
            "ExpiredToken" => ("the session has ended", "get a new AWS_SESSION_TOKEN"),
            "PermanentRedirect" | "AuthorizationHeaderMalformed" => {
                ("the bucket is in another region", "say ?region=NAME in its URL")
            }
            _ if [401, 403].contains(&self.status.as_u16()) => (
                "the engine does not let these credentials in",
                "let them read, write, list and delete there, or set others in the environment",
            ),
            _ => ("the engine refuses it", "see whether it is an engine that bk-repo(1) names"),
        };
        let code = match self.code.as_str() {
            "" => self.status.to_string(),
            code => code.to_owned(),
        };
        Error::new(format!("{what} ({code})")).hint(hint)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the engine answers {} {}", self.status, self.code)
    }
}

impl std::error::Error for Refusal {}

fn failed(error: ureq::Error) -> HttpError {
    let kind = match &error {
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => HttpErrorKind::Connect,
        ureq::Error::Io(_) => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}

/// What is answered, read as it is asked for.
struct Answer {
    first: Option<Bytes>,
    rest: ureq::BodyReader<'static>,
}

impl Answer {
    fn piece(&mut self) -> Option<Result<Bytes, HttpError>> {
        let mut piece = Vec::new();
        match self.rest.by_ref().take(PIECE).read_to_end(&mut piece) {
            Ok(0) => None,
            Ok(_) => Some(Ok(piece.into())),
            Err(error) => Some(Err(HttpError::new(HttpErrorKind::Interrupted, error))),
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let piece = self.first.take().map(Ok).or_else(|| self.piece());
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }
}
