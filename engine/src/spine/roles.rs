//! Who may do what.
//! Invariant: every verb and payload names the one role it needs; what is not in the table needs `admin`.

use super::generated::nikola::{NeuralSpike, control::Verb, neural_spike::Payload};
use std::fmt;
use std::str::FromStr;

/// A role of the white list. `admin` includes all others; the rest include only themselves and `observe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look: STATUS, COMPONENTS, PING, SUBSCRIBE.
    Observe,
    /// Take part on the data plane: status reports, messages to other components.
    Component,
    /// Add waves: INJECT.
    Inject,
    /// Steer: SCRAM, RESUME, NAP, WAKE, SNAPSHOT, FLUSH_TRACE, SET_PARAM.
    Operate,
    /// Everything: HALT and pairing too.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Observe, Self::Component, Self::Inject, Self::Operate, Self::Admin];

    /// As the white list spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Component => "component",
            Self::Inject => "inject",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no role; expected observe, component, inject, operate or admin")]
pub struct RoleError {
    /// The word.
    pub found: String,
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(word: &str) -> Result<Self, RoleError> {
        let found = Self::ALL.into_iter().find(|role| role.name() == word);
        found.ok_or_else(|| RoleError { found: word.to_string() })
    }
}

/// A set of roles; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles(Vec<Role>);

impl Roles {
    /// Reads `observe,inject`; nothing means `observe`.
    ///
    /// # Errors
    /// The first word that is no role.
    pub fn parse(text: &str) -> Result<Self, RoleError> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let mut roles = words.map(str::parse).collect::<Result<Vec<Role>, _>>()?;
        roles.push(Role::Observe);
        roles.sort();
        roles.dedup();
        Ok(Self(roles))
    }

    /// Whether someone with these roles may do what needs `role`.
    pub fn allow(&self, role: Role) -> bool {
        self.0.contains(&role) || self.0.contains(&Role::Admin)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|role| role.name()).collect();
        f.write_str(&names.join(","))
    }
}

/// The role a message needs.
pub fn needed(spike: &NeuralSpike) -> Role {
    match &spike.payload {
        Some(Payload::Control(control)) => match control.verb() {
            Verb::Ping | Verb::Status | Verb::Components | Verb::Subscribe => Role::Observe,
            Verb::Inject => Role::Inject,
            Verb::Scram
            | Verb::Resume
            | Verb::Nap
            | Verb::Wake
            | Verb::FlushTrace
            | Verb::Snapshot
            | Verb::SetParam => Role::Operate,
            Verb::Halt
            | Verb::PairOpen
            | Verb::PairRequest
            | Verb::PairState
            | Verb::PairConfirm
            | Verb::Unspecified => Role::Admin,
        },
        // A payload nobody knows is refused as such, which says nothing that PING does not.
        None => Role::Observe,
        Some(Payload::CommandRequest(_)) => Role::Operate,
        Some(_) => Role::Component,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spine::envelope::{control, spike};
    use crate::spine::generated::nikola::ComponentId;

    #[test]
    fn roles_read_and_print() {
        assert_eq!(Roles::parse("inject").expect("a role").to_string(), "observe,inject");
        assert_eq!(Roles::parse("").expect("none").to_string(), "observe");
        assert_eq!(Roles::parse("observe, root"), Err(RoleError { found: "root".into() }));
    }

    #[test]
    fn every_verb_is_refused_to_those_without_its_role() {
        for number in 0..64 {
            let Ok(verb) = Verb::try_from(number) else { continue };
            let need = needed(&spike(ComponentId::Cli, ComponentId::Spine, control(verb)));
            for role in Role::ALL {
                let is_allowed = Roles::parse(role.name()).expect("a role").allow(need);
                let expected = role == need || role == Role::Admin || need == Role::Observe;
                assert_eq!(is_allowed, expected, "{verb:?} for {role}");
            }
        }
    }
}
