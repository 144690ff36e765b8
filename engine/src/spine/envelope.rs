//! Envelopes: building, bounding, parsing.
//! Invariant: a message is measured before it is parsed; what a newer peer added is ignored or answered with an error,
//! and no bytes from outside can stop the process.

use super::clock::{Moment, now};
use super::generated::nikola::{
    CommandResponse, ComponentId, Control, Error, NeuralSpike, control::Verb, error::Code,
    neural_spike::Payload,
};
use super::sodium;
use prost::Message as _;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The version this code writes. Readers accept newer ones.
pub const PROTOCOL_VERSION: u32 = 1;

/// Largest envelope in bytes: a sparse wave of 100,000 nodes and room to spare.
pub const ENVELOPE_BYTES_MAX: usize = 4 << 20;

/// Longest request id: a UUID and room for what a client may prefix.
pub const REQUEST_ID_BYTES_MAX: usize = 64;

/// Most entries of a trace context (W3C defines two).
pub const TRACE_ENTRIES_MAX: usize = 8;

/// Request ids whose random bytes each thread that asks holds in stock.
const ID_STOCK: usize = 16;

/// Why bytes are no envelope that can be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// More bytes than allowed.
    #[error(
        "the message has {found} bytes; expected at most {ENVELOPE_BYTES_MAX}: send large fields through shared memory"
    )]
    TooLarge {
        /// Bytes received.
        found: usize,
    },
    /// Not a `NeuralSpike`.
    #[error("not a NeuralSpike: {reason}")]
    Malformed {
        /// What the parser says.
        reason: String,
    },
    /// A field is out of bounds.
    #[error("{field} has {found}; expected {expected}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What came.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
}

/// Reads an envelope.
///
/// # Errors
/// [`EnvelopeError`]; the sender is told CODE_MALFORMED.
pub fn parse(bytes: &[u8]) -> Result<NeuralSpike, EnvelopeError> {
    if bytes.len() > ENVELOPE_BYTES_MAX {
        return Err(EnvelopeError::TooLarge { found: bytes.len() });
    }
    let spike =
        NeuralSpike::decode(bytes).map_err(|error| EnvelopeError::Malformed { reason: error.to_string() })?;
    let field = |field, found, expected| Err(EnvelopeError::Field { field, found, expected });
    if spike.request_id.is_empty() || spike.request_id.len() > REQUEST_ID_BYTES_MAX {
        return field("request_id", format!("{} bytes", spike.request_id.len()), "a UUID: 1 to 64 bytes");
    }
    if spike.protocol_version == 0 {
        return field("protocol_version", "0".into(), "1 or more");
    }
    if spike.trace_context.len() > TRACE_ENTRIES_MAX {
        return field("trace_context", format!("{} entries", spike.trace_context.len()), "at most 8");
    }
    Ok(spike)
}

/// A random UUID (RFC 9562, version 4), from random bytes that the system is asked for in bulk: a call for each took
/// longer than all the rest of it.
pub fn request_id() -> String {
    thread_local! {
        static STOCK: RefCell<Vec<[u8; 16]>> = const { RefCell::new(Vec::new()) };
    }
    let mut bytes = STOCK.with_borrow_mut(|stock| {
        if stock.is_empty() {
            stock.extend_from_slice(sodium::random::<{ 16 * ID_STOCK }>().as_chunks().0);
        }
        stock.pop().expect("filled above")
    });
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = [b'-'; 36];
    let digits = (0..36).filter(|i| !matches!(i, 8 | 13 | 18 | 23));
    for (place, digit) in digits.zip(bytes.iter().flat_map(|&byte| sodium::hex_digits(byte))) {
        id[place] = digit;
    }
    String::from_utf8_lossy(&id).into_owned()
}

/// Grows with every call in this process, and from process to process by the clock.
pub fn next_sequence() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let nanos = now().0.as_nanos() as u64;
    let next = |last: u64| Some(nanos.max(last + 1));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
    nanos.max(last + 1)
}

/// A new question or message.
pub fn spike(sender: ComponentId, recipient: ComponentId, payload: Payload) -> NeuralSpike {
    stamped(request_id(), sender, recipient, payload, now())
}

/// The answer to `question`.
pub fn answer(question: &NeuralSpike, payload: Payload) -> NeuralSpike {
    let recipient = question.sender();
    let mut spike = stamped(question.request_id.clone(), ComponentId::Spine, recipient, payload, now());
    spike.trace_context.clone_from(&question.trace_context);
    spike
}

fn stamped(
    request_id: String,
    sender: ComponentId,
    recipient: ComponentId,
    payload: Payload,
    at: Moment,
) -> NeuralSpike {
    NeuralSpike {
        request_id,
        timestamp_ms: at.millis(),
        sender: sender.into(),
        recipient: recipient.into(),
        payload: Some(payload),
        trace_context: Default::default(),
        sequence: next_sequence(),
        protocol_version: PROTOCOL_VERSION,
    }
}

/// The payload that says no.
pub fn error(code: Code, message: impl ToString) -> Payload {
    Payload::Error(Error { code: code.into(), message: message.to_string() })
}

/// The payload that says done, after `tick`.
pub fn done(tick: u64, text: impl Into<String>) -> Payload {
    Payload::CommandResponse(CommandResponse {
        stdout: text.into().into_bytes(),
        tick,
        ..CommandResponse::default()
    })
}

/// A control payload without arguments.
pub fn control(verb: Verb) -> Payload {
    Payload::Control(Control { verb: verb.into(), ..Control::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping() -> NeuralSpike {
        spike(ComponentId::Cli, ComponentId::Spine, control(Verb::Ping))
    }

    /// A protobuf field of wire type 2 (bytes) with a number nobody uses.
    fn with_unknown_field(mut bytes: Vec<u8>, number: u64) -> Vec<u8> {
        prost::encoding::encode_varint(number << 3 | 2, &mut bytes);
        prost::encoding::encode_varint(5, &mut bytes);
        bytes.extend(b"hello");
        bytes
    }

    #[test]
    fn fields_of_a_newer_peer_are_ignored() {
        let bytes = with_unknown_field(ping().encode_to_vec(), 999);
        let read = parse(&bytes).expect("readable");
        assert!(matches!(read.payload, Some(Payload::Control(_))));
    }

    #[test]
    fn a_newer_version_with_a_payload_nobody_knows_parses_to_none() {
        let mut newer = ping();
        newer.payload = None;
        newer.protocol_version = 7;
        // 21 could be a payload of version 7.
        let read = parse(&with_unknown_field(newer.encode_to_vec(), 21)).expect("readable");
        assert_eq!((read.payload, read.protocol_version), (None, 7));
    }

    #[test]
    fn field_numbers_are_the_contract() {
        let mut spike = ping();
        spike.request_id = "r".into();
        spike.timestamp_ms = 1;
        spike.sequence = 1;
        spike.trace_context.insert("k".into(), "v".into());
        // tag = number << 3 | wire type, in the order prost writes: 1 2 3 4 17 16 19 20 sorted by number.
        let expected: &[u8] = &[
            0x0a, 1, b'r', 0x10, 1, 0x18, 8, 0x20, 12, 0x8a, 1, 2, 8, 11, 0x82, 1, 6, 0x0a, 1, b'k', 0x12, 1,
            b'v', 0x98, 1, 1, 0xa0, 1, 1,
        ];
        assert_eq!(spike.encode_to_vec(), expected);
    }

    #[test]
    fn bytes_from_outside_are_refused_not_fatal() {
        assert!(matches!(parse(&[0xff; 40]), Err(EnvelopeError::Malformed { .. })));
        assert!(matches!(parse(&vec![0; ENVELOPE_BYTES_MAX + 1]), Err(EnvelopeError::TooLarge { .. })));
        assert!(matches!(parse(&[]), Err(EnvelopeError::Field { field: "request_id", .. })));
        let whole = ping().encode_to_vec();
        let mut state = 7u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut bytes = whole.clone();
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] ^= (state >> 20) as u8 | 1;
            bytes.truncate((state >> 40) as usize % bytes.len() + 1);
            let _ = parse(&bytes);
        }
    }

    #[test]
    fn sequences_grow_and_ids_are_uuids() {
        let numbers: Vec<u64> = (0..1000).map(|_| next_sequence()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b));
        let id = request_id();
        assert_eq!((id.len(), id.as_bytes()[14]), (36, b'4'));
    }
}
