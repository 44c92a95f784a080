//! Decimals of any size, as Sprig computes with them: 0.1 and 0.2 are 0.3.

use num_bigint::{BigInt, Sign};

/// Digits behind the point that a division gives.
const PLACES: i32 = 16;

/// `digits` times ten to the power of `exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    digits: BigInt,
    exponent: i32,
}

impl Decimal {
    /// The shortest decimal that stands for this float; `None`: it is no number, or infinite.
    pub fn new(number: f64) -> Option<Self> {
        if !number.is_finite() {
            return None;
        }
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e')?;
        let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
        let places = i32::try_from(after.len()).ok()?;
        let digits = format!("{before}{after}").parse().ok()?;
        Some(Self { digits, exponent: exponent.parse::<i32>().ok()? - places })
    }

    /// The float that is nearest.
    pub fn to_float(&self) -> f64 {
        format!("{}e{}", self.digits, self.exponent).parse().unwrap_or(f64::NAN)
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        usize::try_from(self.digits.bits() / 8).unwrap_or(usize::MAX)
    }

    /// The sum.
    pub fn add(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        Self { digits: self.scaled(exponent) + other.scaled(exponent), exponent }
    }

    /// The difference.
    pub fn subtract(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        Self { digits: self.scaled(exponent) - other.scaled(exponent), exponent }
    }

    /// The product.
    pub fn multiply(&self, other: &Self) -> Option<Self> {
        let exponent = self.exponent.checked_add(other.exponent)?;
        Some(Self { digits: &self.digits * &other.digits, exponent })
    }

    /// The quotient, rounded to 16 digits behind the point, half of one away from zero.
    pub fn divide(&self, other: &Self) -> Option<Self> {
        if other.digits.sign() == Sign::NoSign {
            return None;
        }
        let shift = self.exponent.checked_sub(other.exponent)?.checked_add(PLACES)?;
        let power = BigInt::from(10).pow(shift.unsigned_abs());
        let (dividend, divisor) = if shift >= 0 {
            (&self.digits * power, other.digits.clone())
        } else {
            (self.digits.clone(), &other.digits * power)
        };
        let (quotient, rest) = (&dividend / &divisor, &dividend % &divisor);
        let is_half = rest.magnitude() * 2_u32 >= *divisor.magnitude();
        let away = match (is_half, dividend.sign() == divisor.sign()) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => -1,
        };
        Some(Self { digits: quotient + away, exponent: -PLACES })
    }

    /// The digits for a smaller exponent.
    fn scaled(&self, exponent: i32) -> BigInt {
        &self.digits * BigInt::from(10).pow(self.exponent.saturating_sub(exponent).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn computed(one: f64, compute: fn(&Decimal, &Decimal) -> Option<Decimal>, other: f64) -> Option<f64> {
        Some(compute(&Decimal::new(one)?, &Decimal::new(other)?)?.to_float())
    }

    #[test]
    fn digits_are_those_of_the_decimals() {
        assert_eq!(computed(0.1, |one, other| Some(one.add(other)), 0.2), Some(0.3));
        assert_eq!(computed(1.1, Decimal::multiply, 1.1), Some(1.21));
        assert_eq!(computed(0.3, |one, other| Some(one.subtract(other)), 0.1), Some(0.2));
        assert_eq!(computed(2.0, Decimal::divide, 3.0), Some(0.666_666_666_666_666_7));
        assert_eq!(computed(-2.0, Decimal::divide, 3.0), Some(-0.666_666_666_666_666_7));
        assert_eq!(computed(1.0, Decimal::divide, 0.0), None);
        assert_eq!(computed(1e300, Decimal::multiply, 1e-300), Some(1.0));
        assert_eq!(Decimal::new(f64::NAN), None);
    }
}
