//! Known answers for every cipher and mode, and the worked examples of the two bundled protocols.

use super::{BLOCK, Cipher, Key, Mode, Refusal};

fn key(cipher: Cipher, digits: &str) -> Key {
    Key::new(cipher, bytes(digits).try_into().expect("a key has 16 bytes"))
}

fn bytes(digits: &str) -> Vec<u8> {
    hex::decode(digits.replace(' ', "")).expect("test data is hex")
}

struct Known {
    source: &'static str,
    key: Key,
    mode: Mode,
    iv: &'static str,
    associated: &'static str,
    plain: &'static str,
    sealed: &'static str,
}

fn check(known: &Known) {
    let Known { source, key, mode, .. } = known;
    let [iv, associated, plain, sealed] = [known.iv, known.associated, known.plain, known.sealed].map(bytes);
    assert_eq!(key.encrypt(*mode, &iv, &associated, &plain).as_ref(), Ok(&sealed), "{source}");
    assert_eq!(key.decrypt(*mode, &iv, &associated, &sealed).as_ref(), Ok(&plain), "{source}, back");
    if matches!(mode, Mode::Ccm | Mode::Gcm) {
        for at in [0, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.decrypt(*mode, &iv, &associated, &changed), Err(Refusal::Tag), "{source}, changed");
        }
        assert_eq!(key.decrypt(*mode, &iv, b"other", &sealed), Err(Refusal::Tag), "{source}, other associated data");
    }
}

const NIST_KEY: &str = "2b7e151628aed2a6abf7158809cf4f3c";
const NIST_PLAIN: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";
const SM4_KEY: &str = "0123456789abcdeffedcba9876543210";

#[test]
fn aes_gives_the_published_answers() {
    let nist = || key(Cipher::Aes128, NIST_KEY);
    for known in [
        Known {
            source: "SP 800-38A F.1.1",
            key: nist(),
            mode: Mode::Ecb,
            iv: "",
            associated: "",
            plain: NIST_PLAIN,
            sealed: "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf",
        },
        Known {
            source: "SP 800-38A F.2.1",
            key: nist(),
            mode: Mode::Cbc,
            iv: "000102030405060708090a0b0c0d0e0f",
            associated: "",
            plain: NIST_PLAIN,
            sealed: "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2",
        },
        Known {
            source: "SP 800-38A F.5.1",
            key: nist(),
            mode: Mode::Ctr,
            iv: "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            associated: "",
            plain: NIST_PLAIN,
            sealed: "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff",
        },
        Known {
            source: "RFC 3610 packet vector 1",
            key: key(Cipher::Aes128, "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"),
            mode: Mode::Ccm,
            iv: "00000003020100a0a1a2a3a4a5",
            associated: "0001020304050607",
            plain: "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e",
            sealed: "588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0",
        },
        Known {
            source: "SP 800-38C example 3",
            key: key(Cipher::Aes128, "404142434445464748494a4b4c4d4e4f"),
            mode: Mode::Ccm,
            iv: "101112131415161718191a1b",
            associated: "000102030405060708090a0b0c0d0e0f10111213",
            plain: "202122232425262728292a2b2c2d2e2f3031323334353637",
            sealed: "e3b201a9f5b71a7a9b1ceaeccd97e70b6176aad9a4428aa5484392fbc1b09951",
        },
        Known {
            source: "SP 800-38D, AES-GCM test case 4",
            key: key(Cipher::Aes128, "feffe9928665731c6d6a8f9467308308"),
            mode: Mode::Gcm,
            iv: "cafebabefacedbaddecaf888",
            associated: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            plain: "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
            sealed: "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47",
        },
    ] {
        check(&known);
    }
}

#[test]
fn sm4_gives_the_published_answers() {
    let sm4 = || key(Cipher::Sm4, SM4_KEY);
    let long = "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccddddddddddddddddeeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa";
    let associated = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
    for known in [
        Known {
            source: "GB/T 32907-2016 A.1",
            key: sm4(),
            mode: Mode::Ecb,
            iv: "",
            associated: "",
            plain: SM4_KEY,
            sealed: "681edf34d206965e86b3e94f536e4246",
        },
        Known {
            source: "draft-ribose-cfrg-sm4-10, CBC example 1",
            key: sm4(),
            mode: Mode::Cbc,
            iv: "000102030405060708090a0b0c0d0e0f",
            associated: "",
            plain: "aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffffaaaaaaaabbbbbbbb",
            sealed: "78ebb11cc40b0a48312aaeb2040244cb4cb7016951909226979b0d15dc6a8f6d",
        },
        Known {
            source: "draft-ribose-cfrg-sm4-10, CTR example 1",
            key: sm4(),
            mode: Mode::Ctr,
            iv: "000102030405060708090a0b0c0d0e0f",
            associated: "",
            plain: "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd",
            sealed: "ac3236cb970cc20791364c395a1342d1a3cbc1878c6f30cd074cce385cdd70c7",
        },
        Known {
            // The RFC's tag has 16 bytes. With 8, only the tag differs; it was computed by an independent implementation that
            // reproduces the RFC's own.
            source: "RFC 8998 A.2 with a tag of 8 bytes",
            key: sm4(),
            mode: Mode::Ccm,
            iv: "00001234567800000000abcd",
            associated,
            plain: long,
            sealed: "48af93501fa62adbcd414cce6034d895dda1bf8f132f042098661572e7483094fd12e518ce062c98acee28d95df4416bed31a2f04476c18bb40c84a74b97dc5b57e9e57ec9e746ec",
        },
        Known {
            source: "RFC 8998 A.1",
            key: sm4(),
            mode: Mode::Gcm,
            iv: "00001234567800000000abcd",
            associated,
            plain: long,
            sealed: "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d83de3541e4c2b58177e065a9bf7b62ec",
        },
    ] {
        check(&known);
    }
}

#[test]
fn sm4_a_million_times() {
    // GB/T 32907-2016 A.2.
    let key = key(Cipher::Sm4, SM4_KEY);
    let mut block: [u8; BLOCK] = bytes(SM4_KEY).try_into().expect("16 bytes");
    for _ in 0..1_000_000 {
        block = key.block(block);
    }
    assert_eq!(hex::encode(block), "595298c7c6fd271f0402f804c33d3f66");
}

#[test]
fn cmac_gives_the_published_answers() {
    let forty = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411";
    // AES: SP 800-38B D.1. SM4: computed with OpenSSL 3.0 over the same data.
    for (cipher, digits, data, expected) in [
        (Cipher::Aes128, NIST_KEY, "", "bb1d6929e95937287fa37d129b756746"),
        (Cipher::Aes128, NIST_KEY, &forty[..32], "070a16b46b4d4144f79bdd9dd04a287c"),
        (Cipher::Aes128, NIST_KEY, forty, "dfa66747de9ae63030ca32611497c827"),
        (Cipher::Sm4, SM4_KEY, "", "29e154322e5c7bd8ee6a25ba549b24bc"),
        (Cipher::Sm4, SM4_KEY, &forty[..32], "07a0861ededd5cfcead8489011600b9c"),
        (Cipher::Sm4, SM4_KEY, forty, "67a8e59526f59125b5d91e626d23a37a"),
    ] {
        assert_eq!(hex::encode(key(cipher, digits).mac(&bytes(data))), expected);
    }
}

/// The unified protocol §D: keys derived by block, a counter of its own, CMAC cut to 8 bytes, a new key wrapped.
#[test]
fn unified_protocol_examples() {
    let label = |text: &str| -> [u8; BLOCK] { [text.as_bytes(), &[0; 8]].concat().try_into().expect("8 and 8 bytes") };
    for (cipher, enc, mac, frame) in [
        (
            Cipher::Aes128,
            "b05e61cf456e3cec4d0ee4855db4de84",
            "2edf1868799ae1e92628634ab40194ff",
            "680140310150001234567810020 1a01118000100 00003dce51cbdb5488c584846fd5aad117939311477da0b816",
        ),
        (
            Cipher::Sm4,
            "2b9eea55571e8ae112375ffb9446ce82",
            "bfdeb16eaf5db85304c9a7c479bbac3e",
            "6801403101500012345678100201402113000900 0000d4e5b5e29b176548055200dd84e6598d11 16",
        ),
    ] {
        let device = key(cipher, "000102030405060708090a0b0c0d0e0f");
        let derived = [("USP1-ENC", enc), ("USP1-MAC", mac)].map(|(text, expected)| {
            let bytes = device.block(label(text));
            assert_eq!(hex::encode(bytes), expected);
            device.with(bytes)
        });
        let frame = bytes(frame);
        let (sealed, tag) = frame[..frame.len() - 3].split_at(frame.len() - 11);
        assert_eq!(derived[1].mac(sealed)[..8], *tag, "{cipher:?}");
    }
    let device = key(Cipher::Aes128, "000102030405060708090a0b0c0d0e0f");
    let kek = device.with(device.block(label("USP1-KEK")));
    let new = key(Cipher::Aes128, "00112233445566778899aabbccddeeff");
    assert_eq!(hex::encode(device.block(label("USP1-KEK"))), "7e4e249783d1616bba5f893dd76ba04c");
    assert_eq!(hex::encode(kek.wrap(&new)), "af3df87353605e292f100b912c30e08f");
    assert_eq!(hex::encode(&new.block([0; BLOCK])[..3]), "fde4fb");
}

/// Qianwei 7xxx §3 and §9: the body under AES-ECB, first with the maker's default key, then with the key it brought.
#[test]
fn qianwei_examples() {
    let default = key(Cipher::Aes128, "5157 01020304050607080900 01020304");
    let new: String = (0xa0..=0xaf_u8).map(|byte| format!("{byte:02x}")).collect();
    let order = bytes("9adb7269d2cebcfab040991d4a3623ef52c5d8574 14ed0d8730ce2490bfc083a");
    let plain = default.decrypt(Mode::Ecb, &[], &[], &order).expect("whole blocks");
    assert_eq!(hex::encode(&plain[..16]), new);
    let open = bytes("2c1c01e289d7e5e5ee1a36cef67a960e");
    let plain = key(Cipher::Aes128, &new).decrypt(Mode::Ecb, &[], &[], &open).expect("one block");
    assert_eq!(hex::encode(plain), format!("0100{}", "0e".repeat(14)));
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    for cipher in [Cipher::Aes128, Cipher::Sm4] {
        let key = key(cipher, SM4_KEY);
        for (mode, iv, data) in [
            (Mode::Ecb, 0, 15),
            (Mode::Cbc, 16, 17),
            (Mode::Cbc, 15, 16),
            (Mode::Ctr, 12, 5),
            (Mode::Ccm, 6, 5),
            (Mode::Ccm, 14, 5),
            (Mode::Gcm, 11, 5),
        ] {
            let (iv, data) = (vec![0; iv], vec![0; data]);
            assert_eq!(key.encrypt(mode, &iv, &[], &data), Err(Refusal::Length), "{mode:?}");
            assert_eq!(key.decrypt(mode, &iv, &[], &data), Err(Refusal::Length), "{mode:?}");
        }
        assert_eq!(key.decrypt(Mode::Ccm, &[0; 13], &[], &[0; 7]), Err(Refusal::Length));
        assert_eq!(key.decrypt(Mode::Gcm, &[0; 12], &[], &[0; 15]), Err(Refusal::Length));
        // Every nonce length of CCM, and nothing to encrypt.
        for nonce in 7..=13 {
            let nonce = vec![7; nonce];
            let sealed = key.encrypt(Mode::Ccm, &nonce, b"a", b"").expect("any nonce of 7 to 13 bytes");
            assert_eq!(key.decrypt(Mode::Ccm, &nonce, b"a", &sealed), Ok(Vec::new()));
        }
    }
}
