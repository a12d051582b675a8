//! Lists as OpenTelemetry's variables write them, after W3C's baggage: `a=1,b=x%20y`. Must not read a variable.

/// Names with their texts. What is no pair is left out.
pub fn attributes(text: &str) -> Vec<(String, String)> {
    let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let pairs = text.split(',').filter_map(pair);
    pairs.map(|(name, value)| (lossy(name), lossy(value))).filter(|(name, _)| !name.is_empty()).collect()
}

/// One `name=value`, each decoded; `None` for anything else.
pub fn pair(part: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (name, value) = part.split_once('=')?;
    Some((decoded(name.trim()), decoded(value.trim())))
}

/// `%XX` as the byte that it stands for; a `%` that begins no such thing is itself.
fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        let digit = |at: usize| rest.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        match (first, digit(0).zip(digit(1))) {
            (b'%', Some((high, low))) => {
                out.push((high * 16 + low) as u8);
                bytes = rest.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                bytes = rest;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_once_and_keep_what_follows_the_first_sign() {
        let cases: [(&str, &[u8], &[u8]); 5] = [
            (" a = x%20y ", b"a", b"x y"),
            ("authorization=Basic dTpw==", b"authorization", b"Basic dTpw=="),
            ("a=100%25", b"a", b"100%"),
            ("a=%2525", b"a", b"%25"),
            ("a=5%%zz%4", b"a", b"5%%zz%4"),
        ];
        for (part, name, value) in cases {
            assert_eq!(pair(part), Some((name.to_vec(), value.to_vec())), "{part}");
        }
        assert_eq!(pair("junk"), None);
    }
}
