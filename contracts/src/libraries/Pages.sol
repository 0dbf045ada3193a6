// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Stage} from "../interfaces/IEnergyMarket.sol";
import {IMarketErrors} from "../interfaces/IMarketErrors.sol";
import {Clearing, MarketState, Progress} from "../MarketState.sol";
import {Charter} from "./Charter.sol";
import {ClearingHead} from "./ClearingHead.sol";
import {CodeStore} from "./CodeStore.sol";
import {LotRecord} from "./LotRecord.sol";
import {Replacement} from "./Replacement.sol";

/// @notice A page of a clearing's stage: as many members as one oracle's answer holds.
struct Page {
    bytes32 feeder;
    uint256 number; // the feeder's
    uint256 lot; // the clearing's last
    Stage stage;
    uint256 first; // its first member, in the stage's list
    uint256 count;
    bool behind; // some of its meters may be behind
}

/// @title Which members are asked together, and for how many lots
library Pages {
    using Charter for bytes;

    /// @notice What a Chainlink node accepts of an adapter's answer, less room for the JSON around the records, as hex.
    uint256 private constant _ANSWER_BYTES = (32_768 - 300) / 2;

    /// @notice How many meters' records fit an answer.
    function sizeFor(uint256 lots) internal pure returns (uint256) {
        return _ANSWER_BYTES / (LotRecord.HEADER_BYTES + 6 * lots);
    }

    /// @notice All that are asked in a clearing: plants, distributor, consumers.
    function members(bytes memory charter) internal pure returns (uint256) {
        return charter.plants() + 1 + charter.consumers();
    }

    function ofStage(bytes memory charter, Stage stage) internal pure returns (uint256) {
        if (stage == Stage.Plant) return charter.plants();
        return stage == Stage.Distributor ? 1 : charter.consumers();
    }

    /// @notice Fills in the page that begins at a position among all members.
    /// @return count its members
    function begin(
        Page memory page,
        bytes memory charter,
        uint256 position,
        uint256 size
    ) internal pure returns (uint256 count) {
        uint256 plants = charter.plants();
        if (position < plants) {
            (page.stage, page.first, count) = (Stage.Plant, position, plants - position);
        } else if (position == plants) {
            (page.stage, page.first, count) = (Stage.Distributor, 0, 1);
        } else {
            page.stage = Stage.Consumers;
            page.first = position - plants - 1;
            count = charter.consumers() - page.first;
        }
        if (count > size) count = size;
        page.count = count;
    }

    /// @notice Whom to ask, and for how many lots, so that those who are behind can catch up.
    function query(
        MarketState storage s,
        Page memory page,
        ClearingHead head,
        bytes memory charter
    ) internal view returns (string memory stage, bytes32[] memory meterIds, uint256 lots) {
        uint32[] memory accounts;
        bool behind = page.behind;
        if (page.stage == Stage.Consumers) {
            stage = "consumers";
            (meterIds, accounts) = charter.consumersAt(page.first, page.count);
            behind = _consumersBehind(s, page, head, charter);
        } else if (page.stage == Stage.Distributor) {
            stage = "distributor";
            (meterIds, accounts) = (new bytes32[](1), new uint32[](1));
            (accounts[0], meterIds[0]) = charter.distributor();
        } else {
            stage = "plant";
            (meterIds, accounts) = charter.plantsAt(page.first, page.count);
        }
        lots = head.lots();
        if (behind) lots = _reach(s, page.lot, lots, accounts);
    }

    /// @notice The page must be one that an opening asks for, asked for already, and not done.
    function check(MarketState storage s, Page memory page, ClearingHead head, bytes memory charter) internal view {
        uint256 all = ofStage(charter, page.stage);
        uint16 first = uint16(page.first);
        if (first >= all) revert IMarketErrors.PageOutOfRange(first, all);
        uint256 size = sizeFor(head.lots());
        if (first % size != 0) revert IMarketErrors.PageMisaligned(first, size);
        uint256 position = first;
        if (page.stage != Stage.Plant) position += charter.plants();
        if (page.stage == Stage.Consumers) position += 1;
        if (position >= head.requested()) {
            revert IMarketErrors.NotYetRequested(page.feeder, uint64(page.lot), page.stage, first);
        }
        page.count = all - first < size ? all - first : size;
        if (_isDone(s, page, head, charter)) {
            revert IMarketErrors.NothingToRequest(page.feeder, uint64(page.lot), page.stage, first);
        }
    }

    /// @dev Whether consumers may be behind: not when all of the clearing before were done.
    function _consumersBehind(
        MarketState storage s,
        Page memory page,
        ClearingHead head,
        bytes memory charter
    ) private view returns (bool) {
        uint256 last = page.lot - head.lots();
        ClearingHead before = s.clearings[(page.number << 40) | last].head;
        if (before.lots() == 0) return false; // there was none
        if (before.charter() != head.charter()) {
            charter = CodeStore.read(s.charters[(page.number << 24) | before.charter()].code);
        }
        return before.consumersDone() != charter.consumers();
    }

    /// @dev How many lots to ask for, so that as many of the page's meters as fit the answer can catch up.
    function _reach(
        MarketState storage s,
        uint256 lot,
        uint256 lots,
        uint32[] memory accounts
    ) private view returns (uint256 reach) {
        uint256 most = (_ANSWER_BYTES / accounts.length - LotRecord.HEADER_BYTES) / 6;
        reach = lots;
        for (uint256 i = 0; i < accounts.length; ++i) {
            uint256 cursor = Replacement.readFrom(s.accounts[accounts[i]], lot);
            if (lot > cursor + reach && lot - cursor <= most) reach = lot - cursor;
        }
    }

    function _isDone(
        MarketState storage s,
        Page memory page,
        ClearingHead head,
        bytes memory charter
    ) private view returns (bool) {
        if (page.stage == Stage.Distributor) return head.stage() > Progress.DISTRIBUTOR;
        if (page.stage == Stage.Plant) {
            if (head.stage() != Progress.PLANTS) return true;
            uint256 bits = ((1 << page.count) - 1) << page.first;
            Clearing storage c = s.clearings[(page.number << 40) | page.lot];
            return c.prices & bits == bits;
        }
        if (head.consumersDone() == charter.consumers()) return true;
        (, uint32[] memory accounts) = charter.consumersAt(page.first, page.count);
        for (uint256 i = 0; i < page.count; ++i) {
            if (s.accounts[accounts[i]].word.cursor() < page.lot) return false;
        }
        return true;
    }
}
