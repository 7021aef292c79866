//! A body that is made while it is sent, piece by piece, so that its size costs no memory.
//!
//! Whoever makes it runs in a task of its own and waits where the client is slow. If it ends without saying that it is
//! through, the connection is broken off: what is incomplete must not look complete.

use std::fmt;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;

/// Pieces that lie ready at most.
const AHEAD: usize = 2;

/// The end at which it is sent.
pub struct Flow {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
    /// What it is compressed by, if it is.
    packing: Option<GzEncoder<Vec<u8>>>,
}

/// The end at which it is made.
pub struct Source(mpsc::Sender<Piece>);

enum Piece {
    Some(Bytes),
    /// That was all.
    End,
}

/// The body could not be made to its end.
#[derive(Debug)]
pub struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the body could not be made to its end")
    }
}

impl std::error::Error for BrokenOff {}

impl Flow {
    pub fn new() -> (Source, Flow) {
        let (sender, pieces) = mpsc::channel(AHEAD);
        (Source(sender), Flow { pieces, ended: false, packing: None })
    }

    /// The same, compressed piece by piece: what was made is not held back until there is more.
    #[must_use]
    pub fn gzipped(self) -> Flow {
        Flow { packing: Some(GzEncoder::new(Vec::new(), Compression::fast())), ..self }
    }

    /// A piece as it is sent.
    fn packed(&mut self, bytes: Bytes) -> std::io::Result<Bytes> {
        let Some(packing) = &mut self.packing else { return Ok(bytes) };
        packing.write_all(&bytes)?;
        packing.flush()?;
        Ok(std::mem::take(packing.get_mut()).into())
    }

    /// What is sent when all is said.
    fn ending(&mut self) -> std::io::Result<Option<Bytes>> {
        self.packing.take().map(|packing| packing.finish().map(Bytes::from)).transpose()
    }
}

impl Source {
    /// Whether anybody still wants it.
    pub async fn send(&self, piece: Vec<u8>) -> bool {
        self.0.send(Piece::Some(Bytes::from(piece))).await.is_ok()
    }

    /// Says that it was all.
    pub async fn end(self) {
        // Whoever went away does not miss it.
        drop(self.0.send(Piece::End).await);
    }
}

impl Body for Flow {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.pieces.poll_recv(context).map(|piece| {
            let packed = match piece {
                Some(Piece::Some(bytes)) => self.packed(bytes).map(Some),
                Some(Piece::End) => {
                    self.ended = true;
                    self.ending()
                }
                None => Err(std::io::ErrorKind::UnexpectedEof.into()),
            };
            let Ok(bytes) = packed else {
                self.ended = true;
                return Some(Err(BrokenOff));
            };
            bytes.map(|bytes| Ok(Frame::data(bytes)))
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn what_is_incomplete_does_not_look_complete() {
        for complete in [true, false] {
            let (source, mut flow) = Flow::new();
            assert!(source.send(b"one".to_vec()).await);
            if complete {
                source.end().await;
            } else {
                drop(source);
            }
            let first = flow.frame().await.unwrap().unwrap();
            assert_eq!(first.into_data().unwrap(), "one");
            let last = flow.frame().await;
            assert_eq!(last.is_none(), complete);
            assert_eq!(matches!(last, Some(Err(BrokenOff))), !complete);
            assert!(flow.frame().await.is_none());
        }
    }

    #[tokio::test]
    async fn what_is_compressed_comes_piece_by_piece_and_is_whole() {
        let (source, flow) = Flow::new();
        let mut flow = flow.gzipped();
        let mut packed = Vec::new();
        for piece in ["one\n", "two\n"] {
            assert!(source.send(piece.into()).await);
            packed.extend(flow.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        source.end().await;
        packed.extend(flow.frame().await.unwrap().unwrap().into_data().unwrap());
        assert!(flow.frame().await.is_none());
        let mut plain = Vec::new();
        flate2::write::GzDecoder::new(&mut plain).write_all(&packed).unwrap();
        assert_eq!(plain, b"one\ntwo\n");
    }

    #[tokio::test]
    async fn whoever_makes_it_hears_that_nobody_listens() {
        let (source, flow) = Flow::new();
        drop(flow);
        assert!(!source.send(b"one".to_vec()).await);
    }
}
