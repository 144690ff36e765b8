//! Bringing in a new key.
//!
//! ```text
//! LOCKED ──open──▶ BOOTSTRAP ──right token──▶ PAIRING ──shown to the operator──▶ VERIFICATION ──confirmed──▶ LOCKED
//!    ▲                 │ 300 s, 10 wrong tokens   │ 300 s                            │ refused, 300 s       (admitted)
//!    └─────────────────┴──────────────────────────┴──────────────────────────────────┘
//! ```
//!
//! Invariant: the token works once, is compared in constant time and is known here only by its SHA-256; attempts are
//! counted before they are looked at; nobody is admitted without a confirmation.

use super::clock::Moment;
use super::roles::Roles;
use super::sodium;
use std::time::Duration;

/// Longest life of a token.
pub const TOKEN_LIFE: Duration = Duration::from_secs(300);

/// Attempts that may follow each other at once; one more becomes free per [`ATTEMPT_EVERY`].
pub const ATTEMPTS_AT_ONCE: u32 = 3;

/// See [`ATTEMPTS_AT_ONCE`].
pub const ATTEMPT_EVERY: Duration = Duration::from_secs(1);

/// Wrong tokens after which pairing locks.
pub const WRONG_TOKENS_MAX: u32 = 10;

/// Who asks to be admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Name it wants.
    pub name: String,
    /// Its key in Z85, the one its connection was authenticated with.
    pub public_key: String,
}

/// Why a step is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairingError {
    /// Nobody opened pairing, or it took too long.
    #[error("pairing is not open; on the engine's machine run `nikola pair --open`")]
    Locked,
    /// Somebody else is being paired.
    #[error("another pairing is going on; wait for it to end")]
    Busy,
    /// Wrong, expired or used.
    #[error("the token is wrong, expired or was used before; run `nikola pair --open` again for a new one")]
    Token,
    /// Too many attempts.
    #[error("too many attempts; wait a second")]
    RateLimited,
    /// Confirmation without a candidate.
    #[error("nobody waits to be confirmed")]
    NoCandidate,
}

/// Where pairing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Closed.
    Locked,
    /// A token waits for its owner.
    Bootstrap {
        /// SHA-256 of the token.
        token_sha256: [u8; 32],
    },
    /// The right token came.
    Pairing(Candidate),
    /// The operator was shown the fingerprint.
    Verification(Candidate),
}

/// The machine.
#[derive(Debug)]
pub struct Pairing {
    state: State,
    roles: Roles,
    until: Moment,
    wrong_tokens: u32,
    attempts: u32,
    attempts_at: Moment,
}

impl Pairing {
    /// Locked.
    pub fn new() -> Self {
        Self {
            state: State::Locked,
            roles: Roles::parse("").expect("no roles is a set of roles"),
            until: Moment::default(),
            wrong_tokens: 0,
            attempts: 0,
            attempts_at: Moment::default(),
        }
    }

    /// Where it is now; what took too long is locked again.
    pub fn state(&mut self, now: Moment) -> &State {
        if self.state != State::Locked && now >= self.until {
            self.state = State::Locked;
        }
        &self.state
    }

    /// LOCKED → BOOTSTRAP. A pairing that nobody answered yet is replaced.
    ///
    /// # Errors
    /// [`PairingError::Busy`] while a candidate waits.
    pub fn open(
        &mut self,
        token_sha256: [u8; 32],
        life: Duration,
        roles: Roles,
        now: Moment,
    ) -> Result<(), PairingError> {
        if matches!(self.state(now), State::Pairing(_) | State::Verification(_)) {
            return Err(PairingError::Busy);
        }
        self.state = State::Bootstrap { token_sha256 };
        self.roles = roles;
        self.until = now.after(life.min(TOKEN_LIFE));
        self.wrong_tokens = 0;
        Ok(())
    }

    /// BOOTSTRAP → PAIRING with the right token.
    ///
    /// # Errors
    /// [`PairingError`]; a wrong token leaves BOOTSTRAP as it is until there were too many.
    pub fn request(&mut self, token: &[u8], candidate: Candidate, now: Moment) -> Result<(), PairingError> {
        self.count_attempt(now)?;
        match *self.state(now) {
            State::Locked => Err(PairingError::Locked),
            State::Pairing(_) | State::Verification(_) => Err(PairingError::Token),
            State::Bootstrap { token_sha256 } => {
                if sodium::equal(&sodium::sha256(token), &token_sha256) {
                    self.state = State::Pairing(candidate);
                    return Ok(());
                }
                self.wrong_tokens += 1;
                if self.wrong_tokens >= WRONG_TOKENS_MAX {
                    self.state = State::Locked;
                }
                Err(PairingError::Token)
            }
        }
    }

    /// PAIRING → VERIFICATION: the operator now sees the candidate.
    pub fn show(&mut self, now: Moment) -> Option<&Candidate> {
        if let State::Pairing(candidate) = self.state(now) {
            self.state = State::Verification(candidate.clone());
        }
        match &self.state {
            State::Verification(candidate) => Some(candidate),
            _ => None,
        }
    }

    /// VERIFICATION → LOCKED; the candidate and its roles when it is to be admitted.
    ///
    /// # Errors
    /// [`PairingError::NoCandidate`] outside VERIFICATION.
    pub fn confirm(
        &mut self,
        is_confirmed: bool,
        now: Moment,
    ) -> Result<(Candidate, Option<Roles>), PairingError> {
        let State::Verification(candidate) = self.state(now) else { return Err(PairingError::NoCandidate) };
        let candidate = candidate.clone();
        self.state = State::Locked;
        Ok((candidate, is_confirmed.then(|| self.roles.clone())))
    }

    /// Token bucket: [`ATTEMPTS_AT_ONCE`] deep, refilled one per [`ATTEMPT_EVERY`].
    fn count_attempt(&mut self, now: Moment) -> Result<(), PairingError> {
        let refilled = now.since(self.attempts_at).as_nanos() / ATTEMPT_EVERY.as_nanos();
        if refilled > 0 {
            self.attempts = self.attempts.saturating_sub(u32::try_from(refilled).unwrap_or(u32::MAX));
            self.attempts_at = now;
        }
        if self.attempts >= ATTEMPTS_AT_ONCE {
            return Err(PairingError::RateLimited);
        }
        self.attempts += 1;
        Ok(())
    }
}

impl Default for Pairing {
    fn default() -> Self {
        Self::new()
    }
}

/// What both sides show: 96 bits of SHA-256 over the two public keys, in six groups.
pub fn fingerprint(server_key: &str, client_key: &str) -> String {
    let digest = sodium::hex(&sodium::sha256(format!("{server_key}{client_key}").as_bytes()));
    let groups: Vec<_> = (0..6).map(|i| &digest[4 * i..4 * i + 4]).collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &[u8] = b"thirty-two bytes of a good token";

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(1_000_000 + millis))
    }

    fn candidate() -> Candidate {
        Candidate { name: "python".into(), public_key: "key".into() }
    }

    fn open() -> Pairing {
        let mut pairing = Pairing::new();
        let roles = Roles::parse("inject").expect("a role");
        pairing.open(sodium::sha256(TOKEN), TOKEN_LIFE, roles, at(0)).expect("opens");
        pairing
    }

    #[test]
    fn the_whole_way() {
        let mut pairing = open();
        assert_eq!(pairing.show(at(1)), None);
        assert_eq!(pairing.confirm(true, at(1)), Err(PairingError::NoCandidate));
        assert_eq!(pairing.request(TOKEN, candidate(), at(2)), Ok(()));
        assert_eq!(pairing.confirm(true, at(3)), Err(PairingError::NoCandidate), "not shown yet");
        assert_eq!(pairing.show(at(4)), Some(&candidate()));
        let (admitted, roles) = pairing.confirm(true, at(5)).expect("confirmed");
        assert_eq!(
            (admitted, roles.map(|roles| roles.to_string())),
            (candidate(), Some("observe,inject".into()))
        );
        assert_eq!(*pairing.state(at(6)), State::Locked);
    }

    #[test]
    fn a_token_works_once_and_for_its_time() {
        let mut pairing = open();
        assert_eq!(pairing.request(TOKEN, candidate(), at(1)), Ok(()));
        assert_eq!(pairing.request(TOKEN, candidate(), at(2)), Err(PairingError::Token), "used");
        let mut pairing = open();
        assert_eq!(pairing.request(TOKEN, candidate(), at(300_000)), Err(PairingError::Locked), "expired");
        let mut pairing = open();
        pairing.request(TOKEN, candidate(), at(1)).expect("right token");
        pairing.show(at(2));
        assert_eq!(pairing.confirm(true, at(300_000)), Err(PairingError::NoCandidate), "took too long");
    }

    #[test]
    fn refusing_admits_nobody() {
        let mut pairing = open();
        pairing.request(TOKEN, candidate(), at(1)).expect("right token");
        pairing.show(at(2));
        assert_eq!(pairing.confirm(false, at(3)), Ok((candidate(), None)));
    }

    #[test]
    fn guessing_is_slowed_and_then_locked_out() {
        let mut pairing = open();
        let (mut wrong, mut limited) = (0, 0);
        for millis in 0..60_000 {
            match pairing.request(b"guess", candidate(), at(millis)) {
                Err(PairingError::Token) => wrong += 1,
                Err(PairingError::RateLimited) => limited += 1,
                Err(PairingError::Locked) => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(wrong, WRONG_TOKENS_MAX);
        assert!(limited > 6000, "{limited} attempts were slowed down");
        assert_eq!(pairing.request(TOKEN, candidate(), at(100_000)), Err(PairingError::Locked));
    }

    #[test]
    fn a_second_opening_waits_for_the_candidate() {
        let mut pairing = open();
        let again =
            |pairing: &mut Pairing| pairing.open([0; 32], TOKEN_LIFE, Roles::parse("").expect("none"), at(5));
        assert_eq!(again(&mut pairing), Ok(()), "nobody answered the first");
        let mut pairing = open();
        pairing.request(TOKEN, candidate(), at(1)).expect("right token");
        assert_eq!(again(&mut pairing), Err(PairingError::Busy));
    }
}
