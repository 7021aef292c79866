//! Resumable uploads of records: tus 1.0.0 (<https://tus.io>) with creation, expiration and termination, because phones
//! have libraries for it; and a page that says how far the work on it has come.

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, LOCATION};

use super::{Request, device};
use crate::devices::unpack::Coding;
use crate::exchange::Refusal;
use crate::exchange::uploads::{Announced, Upload, printed};
use crate::fhir::outcome::{Id, Issue};
use crate::server::limits::{Inflow, Limits};
use crate::server::problem;
use crate::server::reply::{Body, Reply};

const VERSION: &str = "1.0.0";

const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");

/// What is spoken here, for whoever asks first.
pub(super) fn options(request: &Request<'_>) -> Reply {
    Reply::new(204, Body::Empty)
        .with(RESUMABLE, VERSION)
        .with(HeaderName::from_static("tus-version"), VERSION)
        .with(HeaderName::from_static("tus-extension"), "creation,expiration,termination")
        .with(HeaderName::from_static("tus-max-size"), &request.gateway.config.upload_bytes.to_string())
}

pub(super) async fn create(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    speaks(request)?;
    let announced = Announced {
        format: &device::format(request, request.matched.format)?,
        patient: device::patient(request)?,
        zone: device::zone_name(request)?,
        length: number(request, "upload-length")?,
        coding: coding(request)?,
    };
    let upload = request.gateway.create_upload(&caller, &announced).await?;
    let root = request.gateway.base.trim_end_matches("/fhir");
    let reply = Reply::new(201, Body::Empty).with(LOCATION, &format!("{root}/uploads/{}", printed(upload.id)));
    Ok(described(reply, &upload))
}

pub(super) async fn offset(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    speaks(request)?;
    let upload = request.gateway.upload(&caller, request.matched.id).await?;
    Ok(described(Reply::new(200, Body::Empty), &upload))
}

/// The next bytes. What arrived before a break counts, too, so that the client goes on behind it.
pub(super) async fn append(request: &Request<'_>, body: Incoming, limits: &Limits) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    speaks(request)?;
    if request.header(CONTENT_TYPE.as_str()) != Some("application/offset+octet-stream") {
        let text = "Bytes of an upload are application/offset+octet-stream.";
        return Err(Refusal::one(Id::MediaTypeUnsupported, "", text));
    }
    let offset = number(request, "upload-offset")?;
    let (mut appending, upload) = request.gateway.continue_upload(&caller, request.matched.id, offset).await?;
    let within = Limits { stream_bytes: upload.length - offset, ..limits.clone() };
    let mut inflow = Inflow::new(request.headers, body, &within)?;
    let received = loop {
        match inflow.next().await {
            Ok(Some(piece)) => {
                request.gateway.stands(caller.principal).await?;
                appending.write(piece.to_vec()).await?;
            }
            Ok(None) => break Ok(()),
            Err(issue) => break Err(issue),
        }
    };
    let offset = appending.acknowledge().await?;
    received?;
    Ok(described(Reply::new(204, Body::Empty), &Upload { received: offset, ..upload }))
}

pub(super) async fn remove(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    speaks(request)?;
    request.gateway.remove_upload(&caller, request.matched.id).await?;
    Ok(Reply::new(204, Body::Empty).with(RESUMABLE, VERSION))
}

/// How far the work is, in plain JSON.
pub(super) async fn status(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let upload = request.gateway.upload(&caller, request.matched.id).await?;
    Ok(Reply::json(200, &request.gateway.status(&upload)))
}

/// A refusal in the words of the protocol: a client of another version learns which one is spoken.
pub(super) fn refused(refusal: &Refusal) -> Reply {
    let reply = problem::reply(refusal).with(RESUMABLE, VERSION);
    if reply.status == 412 { reply.with(HeaderName::from_static("tus-version"), VERSION) } else { reply }
}

fn described(reply: Reply, upload: &Upload) -> Reply {
    reply
        .with(RESUMABLE, VERSION)
        .with(OFFSET, &upload.received.to_string())
        .with(LENGTH, &upload.length.to_string())
        .with(EXPIRES, &super::body::http_date(upload.until_ms))
}

fn speaks(request: &Request<'_>) -> Result<(), Issue> {
    if request.header(RESUMABLE.as_str()) == Some(VERSION) {
        return Ok(());
    }
    Err(Issue::new(Id::UploadVersion, "", "The request does not say that it speaks tus 1.0.0."))
}

fn number(request: &Request<'_>, name: &'static str) -> Result<u64, Refusal> {
    let sent = request.header(name).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    sent.and_then(|text| text.parse().ok())
        .ok_or_else(|| Refusal::one(Id::OperationParameter, "", format!("{name} is a number of bytes.")))
}

/// How the file is packed, by the type that its metadata give: pairs of a key and a value in Base64.
fn coding(request: &Request<'_>) -> Result<Coding, Refusal> {
    let metadata = request.header("upload-metadata").unwrap_or_default();
    let mut pairs = metadata.split(',').filter_map(|pair| pair.trim().split_once(' '));
    let Some((_, value)) = pairs.find(|(key, _)| *key == "filetype") else { return Ok(Coding::Plain) };
    let types = [
        ("YXBwbGljYXRpb24veC1uZGpzb24=", Coding::Plain),
        ("YXBwbGljYXRpb24vbmRqc29u", Coding::Plain),
        ("YXBwbGljYXRpb24vZ3ppcA==", Coding::Gzip),
        ("YXBwbGljYXRpb24veC1nemlw", Coding::Gzip),
    ];
    let known = types.iter().find(|(encoded, _)| encoded.trim_end_matches('=') == value.trim().trim_end_matches('='));
    known.map(|(_, coding)| *coding).ok_or_else(|| {
        let text = "An upload is application/x-ndjson, or application/gzip of that.";
        Refusal::one(Id::MediaTypeUnsupported, "", text)
    })
}

#[cfg(test)]
mod tests {
    use crate::server::routes::{Action, Lookup, find};

    #[test]
    fn each_method_has_its_part() {
        for (method, path, action) in [
            ("POST", "/devices/open-mhealth/uploads", Action::UploadCreate),
            ("OPTIONS", "/devices/open-mhealth/uploads", Action::UploadOptions),
            ("OPTIONS", "/uploads/00ff", Action::UploadOptions),
            ("HEAD", "/uploads/00ff", Action::UploadOffset),
            ("PATCH", "/uploads/00ff", Action::UploadAppend),
            ("DELETE", "/uploads/00ff", Action::UploadRemove),
            ("GET", "/uploads/00ff", Action::UploadStatus),
        ] {
            let found = find(method, path);
            assert!(matches!(&found, Lookup::Found(found) if found.action == action), "{method} {path}: {found:?}");
        }
    }
}
