// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {LinkTokenInterface} from "@chainlink/contracts/src/v0.8/shared/interfaces/LinkTokenInterface.sol";
import {IEnergyMarket, Stage} from "./interfaces/IEnergyMarket.sol";
import {Charter} from "./libraries/Charter.sol";
import {CodeStore} from "./libraries/CodeStore.sol";
import {FeederCharters} from "./libraries/FeederCharters.sol";
import {LotRecord} from "./libraries/LotRecord.sol";
import {MarketBase} from "./MarketBase.sol";
import {CharterRef, Clearing, Feeder, Progress, Purpose, Repeat} from "./MarketState.sol";

/// @title Opens lots and asks the oracles for their readings
abstract contract Openings is MarketBase {
    using Charter for bytes;

    /// @notice What a Chainlink node accepts of an adapter's answer, less room for the JSON around the records, as hex.
    uint256 private constant _ANSWER_BYTES = (32_768 - 300) / 2;
    /// @notice Gas that must be left to begin another request; what is missing is requested by opening again.
    uint256 private constant _GAS_REQUEST = 250_000;
    uint256 private constant _GAS_REQUEST_MEMBER = 3_500;
    uint256 private constant _SEAT_BYTES = 64;

    bool private transient _takingLinkBack;

    // ------------------------------------------------------------------------------------------ opening

    /// @inheritdoc IEnergyMarket
    function openLots(bytes32 feeder, uint64 lot) public {
        Feeder storage f = _feeder(feeder);
        if (f.paused) revert OpeningsArePaused(feeder);
        if (f.charters == 0) revert NotChartered(feeder);
        uint256 opened = f.openedLot;
        uint256 number = f.number;
        if (lot == opened && _clearing(number, lot).lots != 0) {
            // a large feeder's requests take several transactions
            Clearing storage open = _clearing(number, lot);
            bytes memory charter = _charter(number, open.charter);
            if (open.requested >= _members(charter)) revert NothingToOpen(feeder, lot);
            return _requestAll(feeder, f, open, lot, charter);
        }
        if (lot <= opened) revert NothingToOpen(feeder, lot);

        (uint256 index, bytes memory terms, uint256 last) = _nextCharter(f, opened);
        (uint32 distributor,) = terms.distributor();
        if (distributor == 0) revert FeederEnded(feeder, uint64(opened + 1));
        if (lot > last) revert LotBeyondCharter(lot, uint64(last));
        uint256 lots = lot - opened;
        if (lots > FeederCharters.MAX_LOTS) revert TooManyLots(uint64(lots), uint64(FeederCharters.MAX_LOTS));
        if (lots < terms.lotsPerClearing() && lot != last) {
            revert TooFewLots(uint64(lots), uint64(terms.lotsPerClearing()));
        }
        uint256 notBefore = _lotEnd(lot) + terms.openDelay();
        if (block.timestamp < notBefore) revert LotNotOver(lot, uint64(notBefore));

        Clearing storage c = _clearing(number, lot);
        c.firstLot = uint40(opened + 1);
        c.lots = uint16(lots);
        c.charter = uint16(index);
        c.consumers = uint16(terms.consumers());
        c.openedAt = uint40(block.timestamp);
        if (terms.plants() == 0) c.stage = Progress.DISTRIBUTOR;
        f.openedLot = uint40(lot);
        f.charter = uint16(index);
        emit LotsOpened(feeder, lot, uint32(lots));
        _requestAll(feeder, f, c, lot, terms);
    }

    /// @inheritdoc IEnergyMarket
    function nextOpening(bytes32 feeder) public view returns (uint64 lot, uint64 notBefore) {
        Feeder storage f = _feeder(feeder);
        if (f.charters == 0) revert NotChartered(feeder);
        uint256 opened = f.openedLot;
        (, bytes memory terms, uint256 last) = _nextCharter(f, opened);
        uint256 next = opened + terms.lotsPerClearing();
        if (next > last) next = last;
        return (uint64(next), uint64(_lotEnd(next) + terms.openDelay()));
    }

    /// @inheritdoc IEnergyMarket
    function lotsPerClearing(bytes32 feeder) external view returns (uint32) {
        Feeder storage f = _feeder(feeder);
        if (f.charters == 0) revert NotChartered(feeder);
        (, bytes memory terms,) = _nextCharter(f, f.openedLot);
        return uint32(terms.lotsPerClearing());
    }

    /// @dev The charter that the next opening is under, and the last lot that it holds for.
    function _nextCharter(Feeder storage f, uint256 opened)
        private
        view
        returns (uint256 index, bytes memory charter, uint256 last)
    {
        uint256 base = uint256(f.number) << 16;
        uint256 count = f.charters;
        index = f.charter;
        if (index + 1 < count && _s.charters[base | (index + 1)].fromLot == opened + 1) ++index;
        last = index + 1 < count ? _s.charters[base | (index + 1)].fromLot - 1 : type(uint40).max;
        charter = CodeStore.read(_s.charters[base | index].code);
    }

    // ------------------------------------------------------------------------------------------ requests

    /// @inheritdoc IEnergyMarket
    function requestStage(bytes32 feeder, uint64 lot, Stage stage, uint16 first) external {
        Feeder storage f = _feeder(feeder);
        Page memory page;
        page.feeder = feeder;
        page.number = f.number;
        page.lot = lot;
        page.stage = stage;
        page.first = first;
        Clearing storage c = _clearing(page.number, lot);
        if (c.lots == 0) revert UnknownClearing(feeder, lot);
        bytes memory charter = _charter(page.number, c.charter);
        _checkPage(page, c, charter);

        uint256 times = _countRepeat(page, c, charter);
        bytes memory seats = f.operators == address(0) ? new bytes(0) : CodeStore.read(f.operators);
        if (seats.length == 0) revert NoOperator(feeder);
        (page.operator, page.specId, page.payment) = _seatAt(seats, times % (seats.length / _SEAT_BYTES));
        if (times <= charter.terms().freeRepeats) {
            _spendLink(feeder, f, page.payment);
        } else if (page.payment != 0) {
            // beyond the free ones, who wants it pays it
            LinkTokenInterface(_chainlinkTokenAddress()).transferFrom(msg.sender, address(this), page.payment);
        }
        _send(page, c, charter, f.silent != 0);
    }

    /// @dev The page must be one that an opening asks for, asked for already, and not done.
    function _checkPage(Page memory page, Clearing storage c, bytes memory charter) private view {
        uint256 members = _membersOf(charter, page.stage);
        uint16 first = uint16(page.first);
        if (first >= members) revert PageOutOfRange(first, members);
        uint256 size = _pageSize(c.lots);
        if (first % size != 0) revert PageMisaligned(first, size);
        if (_position(charter, page.stage, first) >= c.requested) {
            revert NotYetRequested(page.feeder, uint64(page.lot), page.stage, first);
        }
        page.count = members - first < size ? members - first : size;
        if (_isDone(page, c, charter)) revert NothingToRequest(page.feeder, uint64(page.lot), page.stage, first);
    }

    struct Page {
        bytes32 feeder;
        uint256 number;
        uint256 lot;
        Stage stage;
        uint256 first;
        uint256 count;
        address operator;
        bytes32 specId;
        uint96 payment;
    }

    /// @dev Sends what is still to be requested, in the order of the stages, as long as the gas suffices. What is
    /// requested is written down before each request: an operator may do anything inside it.
    function _requestAll(bytes32 feeder, Feeder storage f, Clearing storage c, uint256 lot, bytes memory charter)
        private
    {
        uint256 total = _members(charter);
        if (f.operators == address(0)) {
            c.requested = uint24(total);
            return;
        }
        Page memory page;
        page.feeder = feeder;
        page.number = f.number;
        page.lot = lot;
        (page.operator, page.specId, page.payment) = _seatAt(CodeStore.read(f.operators), 0);
        uint256 size = _pageSize(c.lots);
        bool behind = f.silent != 0;
        bool begun = false;
        while (true) {
            uint256 position = c.requested;
            if (position >= total) return;
            uint256 members;
            (page.stage, page.first, members) = _memberAt(charter, position);
            page.count = members - page.first < size ? members - page.first : size;
            if (begun && gasleft() < _GAS_REQUEST + page.count * _GAS_REQUEST_MEMBER) return;
            begun = true;
            c.requested = uint24(position + page.count);
            _spendLink(feeder, f, page.payment);
            _send(page, c, charter, behind);
        }
    }

    function _send(Page memory page, Clearing storage c, bytes memory charter, bool behind) private {
        bytes32[] memory meterIds;
        uint32[] memory accounts;
        string memory name = "consumers";
        if (page.stage == Stage.Consumers) {
            (meterIds, accounts) = charter.consumersAt(page.first, page.count);
            behind = _someBehind(page.number, c);
        } else {
            meterIds = new bytes32[](page.count);
            accounts = new uint32[](page.count);
            if (page.stage == Stage.Distributor) {
                name = "distributor";
                (accounts[0], meterIds[0]) = charter.distributor();
            } else {
                name = "plant";
                for (uint256 i = 0; i < page.count; ++i) {
                    (meterIds[i], accounts[i],) = charter.plantAt(page.first + i);
                }
            }
        }
        uint256 lots = behind ? _reach(page.lot, c.lots, accounts) : c.lots;

        bytes32 requestId = _nextRequestId();
        _s.purposes[requestId] = Purpose(
            uint24(page.number),
            uint40(page.lot),
            uint8(page.stage),
            uint16(page.first),
            uint16(page.count),
            page.payment
        );
        emit StageRequested(
            requestId,
            page.feeder,
            uint64(page.lot),
            page.stage,
            uint16(page.first),
            uint16(page.count),
            page.operator
        );
        _requestReadings(page.operator, page.specId, page.payment, page.feeder, page.lot, lots, name, meterIds);
    }

    /// @dev Whether consumers may be behind: not when all of the clearing before were done.
    function _someBehind(uint256 number, Clearing storage c) private view returns (bool) {
        Clearing storage before = _clearing(number, uint256(c.firstLot) - 1);
        return before.consumersDone != before.consumers;
    }

    /// @dev How many lots to ask for, so that as many of the page's meters as fit the answer can catch up.
    function _reach(uint256 lot, uint256 lots, uint32[] memory accounts) private view returns (uint256 reach) {
        uint256 most = (_ANSWER_BYTES / accounts.length - LotRecord.HEADER_BYTES) / 6;
        reach = lots;
        for (uint256 i = 0; i < accounts.length; ++i) {
            uint256 cursor = _s.accounts[accounts[i]].word.cursor();
            if (lot > cursor + reach && lot - cursor <= most) reach = lot - cursor;
        }
    }

    /// @dev How many meters' records fit an answer.
    function _pageSize(uint256 lots) private pure returns (uint256) {
        return _ANSWER_BYTES / (LotRecord.HEADER_BYTES + 6 * lots);
    }

    function _members(bytes memory charter) private pure returns (uint256) {
        return charter.plants() + 1 + charter.consumers();
    }

    function _membersOf(bytes memory charter, Stage stage) private pure returns (uint256) {
        return stage == Stage.Plant ? charter.plants() : stage == Stage.Distributor ? 1 : charter.consumers();
    }

    /// @dev Members in the order of their requests: plants, distributor, consumers.
    function _memberAt(bytes memory charter, uint256 position)
        private
        pure
        returns (Stage stage, uint256 first, uint256 members)
    {
        uint256 plants = charter.plants();
        if (position < plants) return (Stage.Plant, position, plants);
        if (position == plants) return (Stage.Distributor, 0, 1);
        return (Stage.Consumers, position - plants - 1, charter.consumers());
    }

    function _position(bytes memory charter, Stage stage, uint256 first) private pure returns (uint256) {
        if (stage == Stage.Plant) return first;
        return stage == Stage.Distributor ? charter.plants() : charter.plants() + 1 + first;
    }

    function _isDone(Page memory page, Clearing storage c, bytes memory charter) private view returns (bool) {
        if (page.stage == Stage.Distributor) return c.stage > Progress.DISTRIBUTOR;
        if (page.stage == Stage.Plant) {
            if (c.stage != Progress.PLANTS) return true;
            uint256 bits = ((1 << page.count) - 1) << page.first;
            return c.prices & bits == bits;
        }
        if (c.consumersDone == c.consumers) return true;
        (, uint32[] memory accounts) = charter.consumersAt(page.first, page.count);
        for (uint256 i = 0; i < page.count; ++i) {
            if (_s.accounts[accounts[i]].word.cursor() < page.lot) return false;
        }
        return true;
    }

    /// @dev Not before the request before it had its time. Returns how often this one was repeated, this time included.
    function _countRepeat(Page memory page, Clearing storage c, bytes memory charter) private returns (uint256 times) {
        uint256 key = (page.number << 64) | (page.lot << 24) | (uint256(page.stage) << 16) | page.first;
        Repeat storage r = _s.repeats[key];
        uint256 at = r.at == 0 ? c.openedAt : r.at;
        uint256 notBefore = at + charter.terms().repeatSeconds;
        if (block.timestamp < notBefore) revert RepeatTooEarly(page.feeder, uint64(page.lot), notBefore);
        times = r.times;
        if (times < type(uint8).max) ++times;
        r.times = uint8(times);
        r.at = uint40(block.timestamp);
    }

    // ------------------------------------------------------------------------------------------ LINK

    /// @notice Takes LINK for a feeder's requests: `LINK.transferAndCall(market, amount, abi.encode(feeder))`.
    function onTokenTransfer(address from, uint256 amount, bytes calldata data) external {
        if (msg.sender != _chainlinkTokenAddress() || _takingLinkBack) revert NotToken(msg.sender);
        bytes32 feeder = abi.decode(data, (bytes32));
        _feeder(feeder).link += uint96(amount);
        emit LinkFunded(feeder, from, amount);
    }

    /// @notice Takes an expired request's LINK back for its feeder. The readings can still be submitted by anyone.
    /// @param expiration as in the operator's OracleRequest event
    function cancelRequest(bytes32 requestId, uint256 expiration) external {
        Purpose memory purpose = _s.purposes[requestId];
        if (purpose.feeder == 0) revert UnknownRequest(requestId);
        delete _s.purposes[requestId];
        LinkTokenInterface link = LinkTokenInterface(_chainlinkTokenAddress());
        // What arrives counts, not what the operator says; and nothing that it does meanwhile counts twice.
        uint256 before = link.balanceOf(address(this));
        if (_takingLinkBack) revert UnknownRequest(requestId);
        _takingLinkBack = true;
        _cancelChainlinkRequest(requestId, purpose.payment, this.fulfill.selector, expiration);
        _takingLinkBack = false;
        uint256 arrived = link.balanceOf(address(this)) - before;
        bytes32 feeder = _s.feederIds[purpose.feeder];
        _s.feeders[feeder].link += uint96(arrived);
        emit LinkFunded(feeder, msg.sender, arrived);
    }

    function _withdrawLink(bytes32 feeder, address to, uint256 amount) internal {
        Feeder storage f = _feeder(feeder);
        if (amount > f.link) revert LinkTooLow(feeder, f.link, amount);
        f.link -= uint96(amount);
        emit LinkWithdrawn(feeder, to, amount);
        LinkTokenInterface(_chainlinkTokenAddress()).transfer(to, amount);
    }

    function _spendLink(bytes32 feeder, Feeder storage f, uint96 payment) private {
        if (payment == 0) return;
        uint96 balance = f.link;
        if (balance < payment) revert LinkTooLow(feeder, balance, payment);
        f.link = balance - payment;
        emit LinkSpent(feeder, payment);
    }

    function _seatAt(bytes memory seats, uint256 index)
        private
        pure
        returns (address operator, bytes32 specId, uint96 payment)
    {
        assembly ("memory-safe") {
            let at := add(add(seats, 32), mul(64, index))
            operator := shr(96, mload(at))
            specId := mload(add(at, 20))
            payment := shr(160, mload(add(at, 52)))
        }
    }

    // ------------------------------------------------------------------------------------------ Automation

    /// @notice Chainlink Automation: whether the feeder in `checkData` (abi.encode(bytes32)) has lots to open.
    function checkUpkeep(bytes calldata checkData) external view returns (bool needed, bytes memory performData) {
        bytes32 feeder = abi.decode(checkData, (bytes32));
        Feeder storage f = _s.feeders[feeder];
        if (f.number == 0 || f.charters == 0 || f.paused) return (false, "");
        uint256 number = f.number;
        uint64 lot = f.openedLot;
        Clearing storage c = _clearing(number, lot);
        if (c.lots != 0 && c.requested < _members(_charter(number, c.charter))) return (true, abi.encode(feeder, lot));
        (, bytes memory terms,) = _nextCharter(f, lot);
        (uint32 distributor,) = terms.distributor();
        uint64 notBefore;
        (lot, notBefore) = nextOpening(feeder);
        return (distributor != 0 && block.timestamp >= notBefore, abi.encode(feeder, lot));
    }

    /// @notice Chainlink Automation: opens the lots that `checkUpkeep` named. Anyone may call it, as `openLots`.
    function performUpkeep(bytes calldata performData) external {
        (bytes32 feeder, uint64 lot) = abi.decode(performData, (bytes32, uint64));
        openLots(feeder, lot);
    }
}
