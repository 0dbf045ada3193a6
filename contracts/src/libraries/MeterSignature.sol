// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Checks a meter's or a participant's signature: ECDSA first, ERC-1271 where the signer is a contract
/// @dev A contract's answer costs its caller at most `_CONTRACT_GAS` and one word of memory, whatever it does: it can
/// neither exhaust a page nor fill its memory with returned data.
library MeterSignature {
    /// @notice secp256k1's half order: the upper half of s is not accepted (EIP-2).
    uint256 private constant _HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;
    bytes4 private constant _MAGIC = 0x1626ba7e; // IERC1271.isValidSignature.selector
    uint256 private constant _CONTRACT_GAS = 100_000;

    /// @param r the signature's r
    /// @param vs s, with v − 27 in its top bit (EIP-2098)
    function isValid(address signer, bytes32 digest, bytes32 r, bytes32 vs) internal view returns (bool) {
        if (_recover(digest, r, vs) == signer) return signer != address(0);
        if (signer.code.length == 0) return false;
        bytes32 s = vs & bytes32(uint256(type(int256).max));
        return _approves(signer, digest, abi.encodePacked(r, s, uint8(27 + (uint256(vs) >> 255))));
    }

    /// @param signature 65 bytes r, s, v, or 64 bytes r, vs; a contract may ask for any form of its own
    function isValid(address signer, bytes32 digest, bytes memory signature) internal view returns (bool) {
        if (signature.length == 65 || signature.length == 64) {
            bytes32 r;
            bytes32 vs;
            assembly ("memory-safe") {
                r := mload(add(signature, 32))
                vs := mload(add(signature, 64))
            }
            if (signature.length == 65) {
                uint8 v = uint8(signature[64]);
                // s in the upper half, or another v, recovers nobody
                if (uint256(vs) > _HALF_ORDER || (v != 27 && v != 28)) r = 0;
                vs |= bytes32(uint256(v == 28 ? 1 : 0) << 255);
            }
            if (r != 0 && signer != address(0) && _recover(digest, r, vs) == signer) return true;
        }
        return signer.code.length != 0 && _approves(signer, digest, signature);
    }

    function _recover(bytes32 digest, bytes32 r, bytes32 vs) private view returns (address signer) {
        uint256 s = uint256(vs) & uint256(type(int256).max);
        if (s > _HALF_ORDER) return address(0);
        assembly ("memory-safe") {
            let ptr := mload(0x40)
            mstore(ptr, digest)
            mstore(add(ptr, 32), add(27, shr(255, vs)))
            mstore(add(ptr, 64), r)
            mstore(add(ptr, 96), s)
            mstore(0, 0)
            // the precompile returns nothing for a bad signature, so the zeroed word stays
            pop(staticcall(gas(), 1, ptr, 128, 0, 32))
            signer := mload(0)
        }
    }

    function _approves(address signer, bytes32 digest, bytes memory signature) private view returns (bool approves) {
        bytes memory query = abi.encodeWithSelector(_MAGIC, digest, signature);
        bytes32 magic = _MAGIC;
        uint256 gasLimit = _CONTRACT_GAS;
        assembly ("memory-safe") {
            mstore(0, 0)
            let ok := staticcall(gasLimit, signer, add(query, 32), mload(query), 0, 32)
            approves := and(and(ok, gt(returndatasize(), 31)), eq(mload(0), magic))
        }
    }
}
