//! Units behind a value, by dimension, and words that are none.
//!
//! A known unit is a product of powers of base units with a factor; two of one dimension are
//! converted. Left out: temperatures are not converted (their scales have different zeros), nor are
//! months and years to days.

use crate::fraction::Fraction;

/// Spellings of a unit, its dimension, and its size in the base unit as a fraction.
type Entry = (&'static [&'static str], &'static [(&'static str, i32)], (i64, i64));

const LENGTH: &[(&str, i32)] = &[("length", 1)];
const AREA: &[(&str, i32)] = &[("length", 2)];
const VOLUME: &[(&str, i32)] = &[("length", 3)];
const MASS: &[(&str, i32)] = &[("mass", 1)];
const TIME: &[(&str, i32)] = &[("time", 1)];
const SPEED: &[(&str, i32)] = &[("length", 1), ("time", -1)];
const MONTHS: &[(&str, i32)] = &[("calendar", 1)];
const ANGLE: &[(&str, i32)] = &[("angle", 1)];
const DOLLARS: &[(&str, i32)] = &[("dollars", 1)];

/// Every unit that is known. Base units: metre, gram, second, month, degree, dollar, byte.
const UNITS: [Entry; 63] = [
    (&["m", "meter", "meters", "metre", "metres"], LENGTH, (1, 1)),
    (&["km", "kilometer", "kilometers", "kilometre", "kilometres", "kms"], LENGTH, (1000, 1)),
    (&["cm", "centimeter", "centimeters", "centimetre", "centimetres", "cms"], LENGTH, (1, 100)),
    (&["mm", "millimeter", "millimeters", "millimetre", "millimetres"], LENGTH, (1, 1000)),
    (&["dm", "decimeter", "decimeters", "decimetre", "decimetres"], LENGTH, (1, 10)),
    (&["inch", "inches", "in"], LENGTH, (254, 10_000)),
    (&["foot", "feet", "ft"], LENGTH, (3048, 10_000)),
    (&["yard", "yards", "yd", "yds"], LENGTH, (9144, 10_000)),
    (&["mile", "miles", "mi"], LENGTH, (1_609_344, 1000)),
    (&["acre", "acres"], AREA, (40_468_564_224, 10_000_000)),
    (&["hectare", "hectares", "ha"], AREA, (10_000, 1)),
    (&["liter", "liters", "litre", "litres", "l", "L"], VOLUME, (1, 1000)),
    (
        &["ml", "mL", "milliliter", "milliliters", "millilitre", "millilitres", "cc"],
        VOLUME,
        (1, 1_000_000),
    ),
    (&["gallon", "gallons", "gal"], VOLUME, (3_785_411_784, 1_000_000_000_000)),
    (&["quart", "quarts", "qt"], VOLUME, (946_352_946, 1_000_000_000_000)),
    (&["pint", "pints", "pt"], VOLUME, (473_176_473, 1_000_000_000_000)),
    (&["cup", "cups"], VOLUME, (2_365_882_365, 10_000_000_000_000)),
    (&["tablespoon", "tablespoons", "tbsp"], VOLUME, (1_478_676_478_125, 100_000_000_000_000_000)),
    (&["teaspoon", "teaspoons", "tsp"], VOLUME, (492_892_159_375, 100_000_000_000_000_000)),
    (&["g", "gram", "grams", "gm", "gms"], MASS, (1, 1)),
    (&["kg", "kilogram", "kilograms", "kilo", "kilos", "kgs"], MASS, (1000, 1)),
    (&["mg", "milligram", "milligrams"], MASS, (1, 1000)),
    (&["tonne", "tonnes"], MASS, (1_000_000, 1)),
    (&["pound", "pounds", "lb", "lbs"], MASS, (45_359_237, 100_000)),
    (&["ounce", "ounces", "oz"], MASS, (28_349_523_125, 1_000_000_000)),
    // the short ton of 2,000 pounds
    (&["ton", "tons"], MASS, (90_718_474, 100)),
    (&["second", "seconds", "sec", "secs", "s"], TIME, (1, 1)),
    (&["minute", "minutes", "min", "mins"], TIME, (60, 1)),
    (&["hour", "hours", "hr", "hrs", "h"], TIME, (3600, 1)),
    (&["day", "days"], TIME, (86_400, 1)),
    (&["week", "weeks", "wk", "wks"], TIME, (604_800, 1)),
    (&["millisecond", "milliseconds", "ms"], TIME, (1, 1000)),
    (&["month", "months"], MONTHS, (1, 1)),
    (&["year", "years", "yr", "yrs"], MONTHS, (12, 1)),
    (&["decade", "decades"], MONTHS, (120, 1)),
    (&["century", "centuries"], MONTHS, (1200, 1)),
    (&["mph"], SPEED, (1_609_344, 3_600_000)),
    (&["kph", "kmh", "kmph"], SPEED, (1000, 3600)),
    (&["degree", "degrees", "deg"], ANGLE, (1, 1)),
    (&["radian", "radians", "rad", "rads"], ANGLE, (1, 1)),
    (&["dollar", "dollars", "usd", "USD", "buck", "bucks"], DOLLARS, (1, 1)),
    (&["cent", "cents", "penny", "pennies"], DOLLARS, (1, 100)),
    (&["nickel", "nickels"], &[("nickels", 1)], (1, 1)),
    (&["dime", "dimes"], &[("dimes", 1)], (1, 1)),
    (&["euro", "euros", "EUR"], &[("euros", 1)], (1, 1)),
    (&["yen"], &[("yen", 1)], (1, 1)),
    (&["sterling"], &[("sterling", 1)], (1, 1)),
    (&["byte", "bytes"], &[("bytes", 1)], (1, 1)),
    (&["KB", "kB", "kilobyte", "kilobytes"], &[("bytes", 1)], (1000, 1)),
    (&["MB", "megabyte", "megabytes"], &[("bytes", 1)], (1_000_000, 1)),
    (&["GB", "gigabyte", "gigabytes"], &[("bytes", 1)], (1_000_000_000, 1)),
    (&["TB", "terabyte", "terabytes"], &[("bytes", 1)], (1_000_000_000_000, 1)),
    (&["bit", "bits"], &[("bytes", 1)], (1, 8)),
    (&["newton", "newtons", "N"], &[("force", 1)], (1, 1)),
    (&["joule", "joules", "J"], &[("energy", 1)], (1, 1)),
    (&["kJ", "kilojoule", "kilojoules"], &[("energy", 1)], (1000, 1)),
    (&["watt", "watts", "W"], &[("power", 1)], (1, 1)),
    (&["kW", "kilowatt", "kilowatts"], &[("power", 1)], (1000, 1)),
    (&["volt", "volts", "V"], &[("voltage", 1)], (1, 1)),
    (&["hertz", "Hz"], &[("frequency", 1)], (1, 1)),
    (&["celsius", "C"], &[("celsius", 1)], (1, 1)),
    (&["fahrenheit", "F"], &[("fahrenheit", 1)], (1, 1)),
    (&["unit", "units"], &[(GENERIC, 1)], (1, 1)),
];

/// Powers of a base unit beyond which a unit is not read.
const LARGEST_POWER: i32 = 12;

/// The dimension of "units" without a name.
const GENERIC: &str = "units";

/// A product of powers of base units.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measure {
    /// Base units and their exponents, sorted, without zeros.
    dimensions: Vec<(&'static str, i32)>,
    /// Its size in base units.
    pub(crate) factor: Fraction,
    /// Whether it is `180 / pi` times as large as the factor says.
    pub(crate) in_radians: bool,
}

/// What stands behind a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Unit {
    Known(Box<Measure>),
    /// Other words, in small letters.
    Words(String),
}

/// Words that change what the number before them says, so that they are no unit.
const TELLING: [&str; 49] = [
    "tenths",
    "hundredths",
    "thousandths",
    "halves",
    "thirds",
    "quarters",
    "fourths",
    "fifths",
    "sixths",
    "eighths",
    "tenth",
    "hundredth",
    "too",
    "cannot",
    "not",
    "no",
    "never",
    "none",
    "nor",
    "neither",
    "either",
    "or",
    "and",
    "but",
    "without",
    "than",
    "except",
    "minus",
    "plus",
    "times",
    "least",
    "most",
    "under",
    "between",
    "more",
    "less",
    "fewer",
    "if",
    "where",
    "unless",
    "is",
    "isn't",
    "wrong",
    "incorrect",
    "maybe",
    "perhaps",
    "half",
    "squared",
    "cubed",
];

/// Words that multiply the number before them.
pub(crate) fn multiplier(word: &str) -> Option<i64> {
    match word {
        "hundred" => Some(100),
        "thousand" => Some(1000),
        "million" => Some(1_000_000),
        "billion" => Some(1_000_000_000),
        "trillion" => Some(1_000_000_000_000),
        "dozen" => Some(12),
        _ => None,
    }
}

/// Whether a word may stand behind a number without saying anything about it.
pub(crate) fn is_remark(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| ".,;:()'\"!".contains(c));
    !bare.is_empty()
        && bare.chars().all(|c| c.is_alphabetic() || "-'’".contains(c))
        && !TELLING.contains(&bare.to_lowercase().as_str())
        && multiplier(&bare.to_lowercase()).is_none()
}

impl Measure {
    /// The degree.
    pub(crate) fn degree() -> Self {
        Self { dimensions: ANGLE.to_vec(), factor: Fraction::ONE, in_radians: false }
    }

    /// A unit by one of its names; `None` if it is not known.
    fn named(name: &str) -> Option<Self> {
        let find = |name: &str| UNITS.iter().find(|(names, ..)| names.contains(&name));
        let (_, dimensions, (above, below)) =
            find(name).or_else(|| find(&name.to_lowercase()).filter(|_| name.len() > 1))?;
        Some(Self {
            dimensions: dimensions.to_vec(),
            factor: Fraction::new((*above).into(), (*below).into()),
            in_radians: name.to_lowercase().starts_with("rad"),
        })
    }

    fn power(mut self, exponent: i32) -> Self {
        self.dimensions.iter_mut().for_each(|(_, of)| *of *= exponent);
        self.factor = self.factor.pow(exponent);
        self
    }

    /// Whether its powers are ones that something could have.
    fn is_small(&self) -> bool {
        self.dimensions.iter().all(|(_, exponent)| exponent.abs() <= LARGEST_POWER)
    }

    fn times(mut self, other: Self) -> Self {
        for (base, exponent) in other.dimensions {
            match self.dimensions.iter_mut().find(|(of, _)| *of == base) {
                Some((_, of)) => *of += exponent,
                None => self.dimensions.push((base, exponent)),
            }
        }
        self.dimensions.retain(|(_, exponent)| *exponent != 0);
        self.dimensions.sort_unstable();
        self.factor = &self.factor * &other.factor;
        self.in_radians |= other.in_radians;
        self
    }

    /// A text such as `cm`, `square feet`, `m^3`, `miles per hour`, `km/h`, `m/s^2`; `None` if a
    /// part of it is not known.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let spaced = text.replace('/', " per ").replace("\\cdot", " ").replace(['{', '}'], "");
        let words: Vec<&str> = spaced
            .split_whitespace()
            .map(|word| word.trim_end_matches(['.', ',']))
            .filter(|word| !word.is_empty())
            .collect();
        if words.is_empty() || words.len() > 12 {
            return None;
        }
        // "of an hour"
        let articles = words.iter().take_while(|word| ["of", "a", "an"].contains(word)).count();
        let words = &words[articles.min(words.len() - 1)..];
        let mut unit: Option<Self> = None;
        let mut last: Option<Self> = None;
        let mut sign = 1;
        let mut raised = 1;
        for word in words.iter().copied() {
            match word.to_lowercase().as_str() {
                "per" | "a" | "an" if unit.is_some() => {
                    sign = -1;
                    continue;
                }
                "square" | "sq" => {
                    raised = 2;
                    continue;
                }
                "cubic" | "cu" => {
                    raised = 3;
                    continue;
                }
                // of the last factor: "meters per second squared"
                power @ ("squared" | "cubed") => {
                    let factor = last.take()?;
                    let more = factor.power(if power == "squared" { 1 } else { 2 });
                    unit = Some(unit?.times(more));
                    continue;
                }
                _ => {}
            }
            let (name, exponent) = match word.split_once('^') {
                Some((name, exponent)) => (name, exponent.parse().ok()?),
                None => (word, 1),
            };
            if !(-4..=4).contains(&exponent) {
                return None;
            }
            let factor = Self::named(name)?.power(sign * raised * exponent);
            last = Some(factor.clone());
            unit = Some(match unit {
                // "degrees Celsius"
                Some(unit) if unit == Self::degree() && is_temperature(&factor) => factor,
                Some(unit) => unit.times(factor),
                None => factor,
            });
            raised = 1;
        }
        unit.filter(|unit| raised == 1 && unit.is_small())
    }

    /// Whether both measure the same kind of thing; units without a name measure anything of their
    /// power.
    pub(crate) fn is_convertible(&self, other: &Self) -> bool {
        let generic = |unit: &Self| match unit.dimensions.as_slice() {
            [(GENERIC, exponent)] => Some(*exponent),
            _ => None,
        };
        let of_power = |unit: &Self, power: i32| match unit.dimensions.as_slice() {
            [(_, exponent)] => *exponent == power,
            _ => false,
        };
        match (generic(self), generic(other)) {
            (Some(power), None) => of_power(other, power),
            (None, Some(power)) => of_power(self, power),
            _ => self.dimensions == other.dimensions,
        }
    }

    /// Whether it is "units" without a name.
    pub(crate) fn is_generic(&self) -> bool {
        matches!(self.dimensions.as_slice(), [(GENERIC, _)])
    }
}

fn is_temperature(unit: &Measure) -> bool {
    matches!(unit.dimensions.as_slice(), [("celsius" | "fahrenheit", 1)])
}

/// The units that are known, as a Markdown table: what they measure, their names, and their size in
/// the base unit of that (metre, gram, second, month, degree, dollar, byte and their products).
pub fn units_table() -> String {
    let mut table = String::from("| dimension | unit | in base units |\n|---|---|---|\n");
    for (names, dimensions, (above, below)) in &UNITS {
        let power = |(base, exponent): &(&str, i32)| match exponent {
            1 => (*base).to_owned(),
            exponent => format!("{base}^{exponent}"),
        };
        let dimension: Vec<String> = dimensions.iter().map(power).collect();
        let size = if *below == 1 {
            above.to_string()
        } else {
            Fraction::new((*above).into(), (*below).into()).to_string()
        };
        table.push_str(&format!("| {} | {} | {size} |\n", dimension.join(" "), names.join(", ")));
    }
    table
}

/// Whether words name the same things: one holds all words of the other, in singular or plural.
pub(crate) fn same_words(a: &str, b: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split_whitespace()
            .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase())
            .map(|word| word.strip_suffix('s').map(str::to_owned).unwrap_or(word))
            .filter(|word| !word.is_empty())
            .collect()
    };
    let (a, b) = (words(a), words(b));
    let within = |few: &[String], many: &[String]| few.iter().all(|word| many.contains(word));
    within(&a, &b) || within(&b, &a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_products_of_powers() {
        let read = |text| Measure::parse(text).unwrap();
        // 36 km/h = 36,000 m / 3,600 s = 10 m/s
        assert_eq!(&read("km/h").factor * &Fraction::from(36), Fraction::from(10));
        assert!(read("miles per hour").is_convertible(&read("m/s")));
        assert_eq!(read("mph"), read("miles per hour"));
        assert_eq!(read("sq. ft"), read("square feet"));
        assert_eq!(read("cm^2"), read("centimeters squared"));
        assert_eq!(read("m/s^2"), read("meters per second squared"));
        assert_eq!(Measure::parse("m^4 m^4 m^4 m^4"), None);
        // a litre is a cubic decimetre
        assert_eq!(read("litre"), read("dm^3"));
        assert!(read("square units").is_convertible(&read("cm^2")));
        assert!(!read("units").is_convertible(&read("cm^2")));
        assert!(!read("hours").is_convertible(&read("meters")));
        assert_eq!(Measure::parse("apples"), None);
        assert_eq!(Measure::parse("square"), None);
    }

    #[test]
    fn words_are_compared_without_number() {
        assert!(same_words("children tickets", "ticket"));
        assert!(!same_words("apples", "oranges"));
        assert!(is_remark("apples,") && !is_remark("or") && !is_remark("72") && !is_remark("not"));
    }
}
