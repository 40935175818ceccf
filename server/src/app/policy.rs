//! What the operator has decided about which devices may enrol.

use twinseal_scheme::ek::DeniedChip;

/// The operator's decisions; the default denies what it can.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// EK certificates may be used outside their validity: chips outlive certificates.
    pub accept_expired: bool,
    /// Simulators may enrol, as the assurance class `simulator`. For tests only.
    pub accept_simulators: bool,
    /// Tokens may enrol, by a code or a listed serial, as the assurance class `token`.
    pub accept_tokens: bool,
    /// Devices without a code or a listed serial wait for an operator, instead of being refused.
    pub approve_by_hand: bool,
    /// Chips that are refused whatever their certificate says.
    pub denied: Vec<DeniedChip>,
}
