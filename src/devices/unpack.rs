//! Packed bytes (gzip, deflate) to plain ones, piece by piece as they arrive.
//!
//! What a piece grows to is bounded by its size, so callers bound that. What is packed must end as such: the end of a
//! stream that was cut short is an error, or its last records would be missing without a word.

use std::io::Write;

/// How bytes were packed (RFC 9110 §8.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    Plain,
    Gzip,
    /// The zlib format, which HTTP calls deflate.
    Deflate,
}

impl Coding {
    /// By its name in HTTP; none where it is not read here.
    pub fn named(name: &[u8]) -> Option<Coding> {
        match name.to_ascii_lowercase().as_slice() {
            b"" | b"identity" => Some(Coding::Plain),
            b"gzip" | b"x-gzip" => Some(Coding::Gzip),
            b"deflate" => Some(Coding::Deflate),
            _ => None,
        }
    }
}

/// Packed bytes that are unpacked at once: they may grow a thousandfold.
pub const PACKED_PIECE: usize = 4 << 10;

/// The bytes are not packed as was said, or end too early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

/// A stream that is unpacked.
pub struct Unpack {
    state: State,
    /// Whether anything came.
    begun: bool,
}

enum State {
    Plain,
    Gzip(flate2::write::MultiGzDecoder<Vec<u8>>),
    Deflate(flate2::write::ZlibDecoder<Vec<u8>>),
}

impl Unpack {
    pub fn new(coding: Coding) -> Unpack {
        let state = match coding {
            Coding::Plain => State::Plain,
            Coding::Gzip => State::Gzip(flate2::write::MultiGzDecoder::new(Vec::new())),
            Coding::Deflate => State::Deflate(flate2::write::ZlibDecoder::new(Vec::new())),
        };
        Unpack { state, begun: false }
    }

    pub fn is_plain(&self) -> bool {
        matches!(self.state, State::Plain)
    }

    /// What a piece of at most [`PACKED_PIECE`] bytes unpacks to.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<u8>, Broken> {
        self.begun |= !piece.is_empty();
        match &mut self.state {
            State::Plain => Ok(piece.to_vec()),
            State::Gzip(decoder) => {
                decoder.write_all(piece).and_then(|()| decoder.flush()).map_err(|_| Broken)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            State::Deflate(decoder) => {
                decoder.write_all(piece).and_then(|()| decoder.flush()).map_err(|_| Broken)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }

    /// The end; an error where something is missing.
    pub fn finish(mut self) -> Result<(), Broken> {
        match &mut self.state {
            State::Gzip(decoder) if self.begun => decoder.try_finish().map_err(|_| Broken),
            State::Deflate(decoder) if self.begun => decoder.try_finish().map_err(|_| Broken),
            _ => Ok(()),
        }
    }
}
