//! Which CPU tier this machine has.
//!
//! A tier is a set of instructions that is taken or left whole: scalar (any machine), v3 (x86-64
//! with AVX2, FMA and F16C) and v4 (with the AVX-512 of Ice Lake and Zen 4: with VNNI, VBMI,
//! VPOPCNTDQ and BITALG). An [`Isa`] is made only here, after asking the CPU, so holding one proves
//! that its instructions exist.

use std::sync::OnceLock;

/// Proof that a CPU tier exists; only from [`Isa::detect`] and [`Isa::available`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isa(Tier);

/// The tiers, best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    V3,
    #[cfg(target_arch = "x86_64")]
    V4,
}

impl Isa {
    /// The best tier of this machine. The environment variable `NEARFIELD_ISA` (`scalar`, `v3` or
    /// `v4`) lowers it; a tier that the machine lacks, or an unknown name, changes nothing.
    pub(crate) fn detect() -> Self {
        static DETECTED: OnceLock<Isa> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let available = Self::available();
            let wanted = std::env::var("NEARFIELD_ISA").unwrap_or_default();
            let forced = available.iter().find(|isa| isa.name() == wanted);
            forced.or(available.last()).copied().unwrap_or(Self(Tier::Scalar))
        })
    }

    /// All tiers this machine has, best last.
    pub(crate) fn available() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "one tier"))]
        let mut tiers = vec![Self(Tier::Scalar)];
        #[cfg(target_arch = "x86_64")]
        {
            if has_v3() {
                tiers.push(Self(Tier::V3));
                if has_v4() {
                    tiers.push(Self(Tier::V4));
                }
            }
        }
        tiers
    }

    /// Name of the tier.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            Tier::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Tier::V3 => "v3",
            #[cfg(target_arch = "x86_64")]
            Tier::V4 => "v4",
        }
    }

    #[inline(always)]
    pub(super) fn tier(self) -> Tier {
        self.0
    }
}

#[cfg(target_arch = "x86_64")]
fn has_v3() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

#[cfg(target_arch = "x86_64")]
fn has_v4() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512bitalg")
        && is_x86_feature_detected!("avx512vpopcntdq")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalar_is_always_there_and_the_detected_tier_is_available() {
        let available = Isa::available();
        assert_eq!(available[0].name(), "scalar");
        assert!(available.contains(&Isa::detect()));
    }
}
