// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {CodeStore} from "./CodeStore.sol";
import {ClearingMath} from "./ClearingMath.sol";
import {IMeterRegistry} from "../interfaces/IMeterRegistry.sol";
import {PlantSeat, Terms} from "../interfaces/IEnergyMarket.sol";

/// @title A feeder's charter: its terms, distributor, plants with their prices, and where its consumers are listed
/// @notice One piece of code per version, written once, in force from one lot on. A clearing never spans two.
/// @dev feeder 32 | A 32 | B 32 | distributor's meterId 32 | consumers' lowest price limit 8 | plants: meterId 32,
/// account 4, price 8, each | consumers' chunks: address 20, each.
/// A: idealLossBps 2, serviceBps 2, penaltyBps 4, toleranceBps 2, maxPricePerKWh 8, openDelay 4, repeatSeconds 4,
/// lotsPerClearing 2, freeRepeats 1, tokensPerConsumer 1, 0 2. B: reserve 12, graceSeconds 4, estimateSeconds 4,
/// abandonSeconds 4, consumers 2, plants 1, distributor's account 4, 0 1.
/// A chunk of up to 64 consumers: their meterIds, 32 bytes each, then their accounts, 4 bytes each.
library Charter {
    uint256 internal constant CHUNK = 64;
    uint256 internal constant MAX_PLANTS = 64;
    uint256 internal constant MAX_CONSUMERS = 4_096;
    uint256 private constant _PLANTS_AT = 136;
    uint256 private constant _PLANT_BYTES = 44;

    /// @notice A charter as it is edited.
    struct Draft {
        bytes32 feeder;
        uint64 fromLot; // not written
        IMeterRegistry registry; // not written
        Terms terms;
        uint32 distributor;
        bytes32 distributorMeter;
        uint64 consumerLimit;
        PlantSeat[] plants;
        bytes32[] plantMeters;
        uint16 consumers;
        address[] chunks;
    }

    function write(Draft memory draft) internal returns (address) {
        Terms memory t = draft.terms;
        bytes memory a = abi.encodePacked(
            t.idealLossBps,
            t.serviceBps,
            t.penaltyBps,
            t.toleranceBps,
            t.maxPricePerKWh,
            t.openDelay,
            t.repeatSeconds,
            t.lotsPerClearing,
            t.freeRepeats,
            t.tokensPerConsumer,
            uint16(0)
        );
        bytes memory b = abi.encodePacked(
            t.reserve,
            t.graceSeconds,
            t.estimateSeconds,
            t.abandonSeconds,
            draft.consumers,
            uint8(draft.plants.length),
            draft.distributor,
            uint8(0)
        );
        bytes memory code = abi.encodePacked(draft.feeder, a, b, draft.distributorMeter, draft.consumerLimit);
        for (uint256 i = 0; i < draft.plants.length; ++i) {
            code = abi.encodePacked(code, draft.plantMeters[i], draft.plants[i].account, draft.plants[i].pricePerKWh);
        }
        for (uint256 i = 0; i < draft.chunks.length; ++i) {
            code = abi.encodePacked(code, draft.chunks[i]);
        }
        return CodeStore.write(code);
    }

    function draftOf(bytes memory charter) internal pure returns (Draft memory draft) {
        draft.feeder = feeder(charter);
        draft.terms = terms(charter);
        (draft.distributor, draft.distributorMeter) = distributor(charter);
        draft.consumerLimit = uint64(_word(charter, 128) >> 192);
        uint256 plants_ = plants(charter);
        draft.plants = new PlantSeat[](plants_);
        draft.plantMeters = new bytes32[](plants_);
        for (uint256 i = 0; i < plants_; ++i) {
            (draft.plantMeters[i], draft.plants[i].account, draft.plants[i].pricePerKWh) = plantAt(charter, i);
        }
        draft.consumers = uint16(consumers(charter));
        draft.chunks = new address[]((draft.consumers + CHUNK - 1) / CHUNK);
        for (uint256 i = 0; i < draft.chunks.length; ++i) draft.chunks[i] = _chunk(charter, i);
    }

    function feeder(bytes memory charter) internal pure returns (bytes32) {
        return bytes32(_word(charter, 0));
    }

    function terms(bytes memory charter) internal pure returns (Terms memory t) {
        uint256 a = _word(charter, 32);
        uint256 b = _word(charter, 64);
        t.idealLossBps = uint16(a >> 240);
        t.serviceBps = uint16(a >> 224);
        t.penaltyBps = uint32(a >> 192);
        t.toleranceBps = uint16(a >> 176);
        t.maxPricePerKWh = uint64(a >> 112);
        t.openDelay = uint32(a >> 80);
        t.repeatSeconds = uint32(a >> 48);
        t.lotsPerClearing = uint16(a >> 32);
        t.freeRepeats = uint8(a >> 24);
        t.tokensPerConsumer = uint8(a >> 16) != 0;
        t.reserve = uint96(b >> 160);
        t.graceSeconds = uint32(b >> 128);
        t.estimateSeconds = uint32(b >> 96);
        t.abandonSeconds = uint32(b >> 64);
    }

    function tariff(bytes memory charter) internal pure returns (ClearingMath.Tariff memory t) {
        uint256 a = _word(charter, 32);
        t.idealLossBps = uint16(a >> 240);
        t.serviceBps = uint16(a >> 224);
        t.penaltyBps = uint32(a >> 192);
        t.toleranceBps = uint16(a >> 176);
        t.maxPricePerKWh = uint64(a >> 112);
    }

    function openDelay(bytes memory charter) internal pure returns (uint256) {
        return uint32(_word(charter, 32) >> 80);
    }

    function lotsPerClearing(bytes memory charter) internal pure returns (uint256) {
        return uint16(_word(charter, 32) >> 32);
    }

    function tokensPerConsumer(bytes memory charter) internal pure returns (bool) {
        return uint8(_word(charter, 32) >> 16) != 0;
    }

    function reserve(bytes memory charter) internal pure returns (uint256) {
        return uint96(_word(charter, 64) >> 160);
    }

    function graceSeconds(bytes memory charter) internal pure returns (uint256) {
        return uint32(_word(charter, 64) >> 128);
    }

    function consumers(bytes memory charter) internal pure returns (uint256) {
        return uint16(_word(charter, 64) >> 48);
    }

    function plants(bytes memory charter) internal pure returns (uint256) {
        return uint8(_word(charter, 64) >> 40);
    }

    /// @return account 0: the feeder has ended
    function distributor(bytes memory charter) internal pure returns (uint32 account, bytes32 meterId) {
        return (uint32(_word(charter, 64) >> 8), bytes32(_word(charter, 96)));
    }

    function plantAt(
        bytes memory charter,
        uint256 index
    ) internal pure returns (bytes32 meterId, uint32 account, uint64 pricePerKWh) {
        uint256 at = _PLANTS_AT + index * _PLANT_BYTES;
        meterId = bytes32(_word(charter, at));
        uint256 tail = _word(charter, at + 32);
        account = uint32(tail >> 224);
        pricePerKWh = uint64(tail >> 160);
    }

    /// @notice The plants `first` … `first + count − 1`.
    function plantsAt(
        bytes memory charter,
        uint256 first,
        uint256 count
    ) internal pure returns (bytes32[] memory meterIds, uint32[] memory accounts) {
        meterIds = new bytes32[](count);
        accounts = new uint32[](count);
        for (uint256 i = 0; i < count; ++i) (meterIds[i], accounts[i], ) = plantAt(charter, first + i);
    }

    /// @notice The consumers `first` … `first + count − 1`.
    function consumersAt(
        bytes memory charter,
        uint256 first,
        uint256 count
    ) internal view returns (bytes32[] memory meterIds, uint32[] memory accounts) {
        meterIds = new bytes32[](count);
        accounts = new uint32[](count);
        uint256 total = consumers(charter);
        uint256 done = 0;
        while (done < count) {
            uint256 index = first + done;
            uint256 size = total - (index / CHUNK) * CHUNK;
            if (size > CHUNK) size = CHUNK;
            bytes memory chunk = CodeStore.read(_chunk(charter, index / CHUNK));
            for (uint256 i = index % CHUNK; i < size && done < count; ++i) {
                meterIds[done] = bytes32(_word(chunk, 32 * i));
                accounts[done] = uint32(_word(chunk, 32 * size + 4 * i) >> 224);
                ++done;
            }
        }
    }

    /// @notice Writes one chunk of a list.
    function writeChunk(bytes32[] memory meterIds, uint32[] memory accounts, uint256 index) internal returns (address) {
        uint256 from = index * CHUNK;
        uint256 size = meterIds.length - from;
        if (size > CHUNK) size = CHUNK;
        bytes memory chunk = new bytes(36 * size);
        for (uint256 i = 0; i < size; ++i) {
            bytes32 meterId = meterIds[from + i];
            uint256 account = uint256(accounts[from + i]) << 224;
            assembly ("memory-safe") {
                mstore(add(add(chunk, 32), mul(32, i)), meterId)
                let at := add(add(chunk, 32), add(mul(32, size), mul(4, i)))
                mstore(at, or(account, and(mload(at), shr(32, not(0)))))
            }
        }
        return CodeStore.write(chunk);
    }

    function _chunk(bytes memory charter, uint256 index) private pure returns (address) {
        return address(uint160(_word(charter, _PLANTS_AT + plants(charter) * _PLANT_BYTES + 20 * index) >> 96));
    }

    function _word(bytes memory data, uint256 at) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(add(data, 32), at))
        }
    }
}
