//! The socket over which subscribers are told (RFC 6455; Subscriptions R5 Backport, "WebSocket"): opened by anybody, of
//! use to who binds it by a token.
//!
//! A client says `bind-with-token TOKEN`, as often as it has tokens, and nothing else. What it is told, and whether it
//! still may be, is known by `exchange`. A socket that nobody binds is closed, and so is one that does not answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::Upgraded;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use crate::exchange::Gateway;
use crate::exchange::subscribe::{Bound, LOOK_MS};

/// Where it is opened.
pub const PATH: &str = "/subscriptions/websocket";

/// Time within which a socket is bound, and one message is written.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is found out whether the far end is still there.
const PING: Duration = Duration::from_secs(30);

/// Longest message that is read: a command and a token.
const MESSAGE_BYTES: usize = 64 << 10;

/// What goes before a token.
const BIND: &str = "bind-with-token ";

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The sockets that are open, and when they are to close.
pub(super) struct Sockets {
    places: Arc<Semaphore>,
    most: u32,
    closing: watch::Sender<bool>,
}

impl Sockets {
    pub fn new(most: usize) -> Self {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        Sockets { places: Arc::new(Semaphore::new(most as usize)), most, closing: watch::channel(false).0 }
    }

    /// Closes all of them.
    pub async fn close(&self) {
        let _ = self.closing.send(true);
        // Whoever has all places knows that nobody else has one.
        drop(self.places.acquire_many(self.most).await);
    }

    /// The headers by which a request becomes a socket, or the status by which it does not.
    pub fn open(&self, request: &mut Request<Incoming>, gateway: &Arc<Gateway>) -> Result<HeaderMap, StatusCode> {
        let key = key(request.headers()).ok_or(StatusCode::UPGRADE_REQUIRED)?;
        let place = self.places.clone().try_acquire_owned().map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        let accept = accepted(&key);
        headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::try_from(accept).map_err(|_| StatusCode::BAD_REQUEST)?);
        let (upgrade, gateway, closing) = (hyper::upgrade::on(request), gateway.clone(), self.closing.subscribe());
        tokio::spawn(serve(upgrade, gateway, closing, place));
        Ok(headers)
    }
}

/// The key of a request that asks for a socket (RFC 6455 §4.2.1).
fn key(headers: &HeaderMap) -> Option<String> {
    let says = |name, word: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    let asks = says(UPGRADE, "websocket") && says(CONNECTION, "upgrade") && says(SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok())?;
    let is_key = base64::engine::general_purpose::STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16);
    (asks && is_key).then(|| key.to_owned())
}

/// What proves that the request was understood (RFC 6455 §4.2.2).
fn accepted(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64::engine::general_purpose::STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

async fn serve(
    upgrade: hyper::upgrade::OnUpgrade,
    gateway: Arc<Gateway>,
    closing: watch::Receiver<bool>,
    place: OwnedSemaphorePermit,
) {
    if let Ok(upgraded) = upgrade.await {
        let config =
            WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES)).max_frame_size(Some(MESSAGE_BYTES));
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        let mut open = Open { socket, bound: Bound::default(), alive: true };
        let code = open.talk(&gateway, closing).await;
        open.close(code).await;
    }
    // The place is free when nothing holds the gateway any more.
    drop(gateway);
    drop(place);
}

/// An open socket.
struct Open {
    socket: Socket,
    bound: Bound,
    /// Whether anything was heard since the last ping.
    alive: bool,
}

impl Open {
    /// Until the end; why it ended.
    async fn talk(&mut self, gateway: &Gateway, mut closing: watch::Receiver<bool>) -> CloseCode {
        let mut changed = gateway.events_due();
        let mut look = tokio::time::interval(Duration::from_millis(LOOK_MS));
        let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
        let bind_by = tokio::time::Instant::now() + PATIENCE;
        loop {
            if *closing.borrow() {
                return CloseCode::Restart;
            }
            changed.mark_unchanged();
            if self.tell(gateway).await.is_err() {
                return CloseCode::Error;
            }
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => match self.command(gateway, &text).await {
                        Ok(()) => self.alive = true,
                        Err(code) => return code,
                    },
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return CloseCode::Normal,
                    Some(Ok(Message::Binary(_))) => return CloseCode::Unsupported,
                    Some(Ok(_)) => self.alive = true,
                },
                _ = changed.changed() => {}
                _ = look.tick() => {
                    if self.bound.is_empty() && tokio::time::Instant::now() > bind_by {
                        return CloseCode::Policy;
                    }
                }
                _ = ping.tick() => {
                    if !std::mem::take(&mut self.alive) || !self.write(Message::Ping(Vec::new().into())).await {
                        return CloseCode::Away;
                    }
                }
                _ = closing.changed() => {}
            }
        }
    }

    /// What the client says.
    async fn command(&mut self, gateway: &Gateway, text: &str) -> Result<(), CloseCode> {
        let token = text.trim().strip_prefix(BIND).ok_or(CloseCode::Policy)?;
        match gateway.bind(&mut self.bound, token.trim()).await {
            Ok(Some(handshakes)) => {
                for handshake in handshakes {
                    if !self.write(Message::Text(handshake.into())).await {
                        return Err(CloseCode::Away);
                    }
                }
                Ok(())
            }
            Ok(None) => Err(CloseCode::Policy),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a socket could not be bound");
                Err(CloseCode::Error)
            }
        }
    }

    /// Everything that waits.
    async fn tell(&mut self, gateway: &Gateway) -> Result<(), ()> {
        let failed = |error: crate::exchange::Refusal| {
            let issues = error.ids().first().map(|id| id.code());
            tracing::error!(issues, "a socket is told nothing more");
        };
        while let Some(outgoing) = gateway.next_for(&mut self.bound).await.map_err(|error| failed(error.into()))? {
            let was = self.write(Message::Text(outgoing.text().to_owned().into())).await;
            gateway.written(outgoing, was).await.map_err(|error| failed(error.into()))?;
            if !was {
                return Err(());
            }
        }
        Ok(())
    }

    async fn write(&mut self, message: Message) -> bool {
        matches!(tokio::time::timeout(PATIENCE, self.socket.send(message)).await, Ok(Ok(())))
    }

    async fn close(mut self, code: CloseCode) {
        let frame = CloseFrame { code, reason: "".into() };
        let closed = async {
            let _ = self.socket.close(Some(frame)).await;
        };
        let _: Result<(), Infallible> = tokio::time::timeout(PATIENCE, closed).await.or(Ok(()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 §1.3.
    #[test]
    fn a_key_is_answered_as_the_standard_says() {
        assert_eq!(accepted("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_a_request_for_a_socket_is_one() {
        let asked = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let headers = |left_out: &str| -> HeaderMap {
            let given = asked.iter().filter(|(name, _)| *name != left_out);
            given.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect::<HeaderMap>()
        };
        assert!(key(&headers("")).is_some());
        for (name, _) in asked {
            assert!(key(&headers(name)).is_none(), "{name}");
        }
        let mut short = headers("");
        short.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhl"));
        assert!(key(&short).is_none());
    }
}
