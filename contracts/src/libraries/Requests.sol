// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IEnergyMarket, Stage} from "../interfaces/IEnergyMarket.sol";
import {IMarketErrors} from "../interfaces/IMarketErrors.sol";
import {Clearing, Feeder, MarketState, Progress, Repeat} from "../MarketState.sol";
import {Charter} from "./Charter.sol";
import {CodeStore} from "./CodeStore.sol";
import {FeederCharters} from "./FeederCharters.sol";
import {LotRecord} from "./LotRecord.sol";
import {Purpose} from "./Purpose.sol";

/// @title Opens lots and works out what to ask the oracles for
/// @dev External functions, linked into the market, which sends what they return: they keep its code below EIP-170's
/// limit.
library Requests {
    using Charter for bytes;

    /// @notice One request, ready to be sent.
    struct Request {
        address operator;
        bytes32 specId;
        uint96 payment;
        uint96 purpose;
        uint256 lots;
        string stage;
        bytes32[] meterIds;
    }

    /// @dev A page of a stage.
    struct Page {
        bytes32 feeder;
        uint256 number;
        uint256 lot;
        Stage stage;
        uint256 first;
        uint256 count;
        bool behind; // some of its meters may be behind
        uint256 nonce; // the request's
    }

    /// @notice What a Chainlink node accepts of an adapter's answer, less room for the JSON around the records, as hex.
    uint256 private constant _ANSWER_BYTES = (32_768 - 300) / 2;
    uint256 private constant _SEAT_BYTES = 64;
    /// @notice Gas to set aside for each request of an opening, and for each of its members; what does not fit the gas at
    /// hand is requested by opening again.
    uint256 private constant _GAS_REQUEST = 150_000;
    uint256 private constant _GAS_REQUEST_MEMBER = 2_500;
    uint256 private constant _GAS_REST = 60_000;

    // ------------------------------------------------------------------------------------------ opening

    /// @notice Opens the lots up to `lot`, or finds that they are open and not all requested yet.
    /// @param nonce of the next request
    /// @return requests to be sent, in this order: as many as the gas suffices for
    function open(
        MarketState storage s,
        uint256 lotSeconds,
        bytes32 feeder,
        uint64 lot,
        uint256 nonce
    ) external returns (Request[] memory requests) {
        Feeder storage f = _known(s, feeder);
        if (f.paused) revert IMarketErrors.OpeningsArePaused(feeder);
        if (f.charters == 0) revert IMarketErrors.NotChartered(feeder);
        Clearing storage c = s.clearings[(uint256(f.number) << 40) | lot];
        bytes memory charter;
        if (lot > f.openedLot) {
            charter = _begin(s, f, c, feeder, lot, lotSeconds);
        } else {
            // a large feeder's requests take several transactions
            if (lot < f.openedLot || c.lots == 0) revert IMarketErrors.NothingToOpen(feeder, lot);
            charter = _charter(s, f.number, c.charter);
            if (c.requested >= _members(charter)) revert IMarketErrors.NothingToOpen(feeder, lot);
        }
        Page memory page;
        (page.feeder, page.number, page.lot) = (feeder, f.number, lot);
        page.nonce = nonce;
        return _plan(s, f, c, charter, page);
    }

    function _begin(
        MarketState storage s,
        Feeder storage f,
        Clearing storage c,
        bytes32 feeder,
        uint64 lot,
        uint256 lotSeconds
    ) private returns (bytes memory charter) {
        uint256 opened = f.openedLot;
        uint256 index;
        uint256 last;
        (index, charter, last) = _nextCharter(s, f, opened);
        _checkOpening(feeder, charter, lot, lot - opened, last, lotSeconds);
        c.firstLot = uint40(opened + 1);
        c.lots = uint16(lot - opened);
        c.charter = uint16(index);
        c.consumers = uint16(charter.consumers());
        c.openedAt = uint40(block.timestamp);
        if (charter.plants() == 0) c.stage = Progress.DISTRIBUTOR;
        f.openedLot = uint40(lot);
        f.charter = uint16(index);
        emit IEnergyMarket.LotsOpened(feeder, lot, uint32(lot - opened));
    }

    /// @dev All pages that are not requested yet, in the order of the stages, as far as the gas goes. They count as
    /// requested before the first is sent.
    function _plan(
        MarketState storage s,
        Feeder storage f,
        Clearing storage c,
        bytes memory charter,
        Page memory page
    ) private returns (Request[] memory requests) {
        uint256 total = _members(charter);
        if (f.operators == address(0)) {
            c.requested = uint24(total);
            return requests;
        }
        uint256 position = c.requested;
        uint256 size = _pageSize(c.lots);
        requests = new Request[](2 + charter.plants() / size + charter.consumers() / size + 1);
        bytes memory seats = CodeStore.read(f.operators);
        uint256 setAside = 0;
        uint256 n = 0;
        while (position < total) {
            page.count = _pageAt(charter, page, position, size);
            uint256 need = _GAS_REQUEST + _GAS_REQUEST_MEMBER * page.count;
            if (n != 0 && gasleft() < setAside + need + _GAS_REST) break;
            setAside += need;
            position += page.count;
            page.behind = f.silent != 0;
            Request memory request = requests[n++];
            (request.operator, request.specId, request.payment) = _seatAt(seats, 0);
            _fill(s, request, page, c, charter);
            ++page.nonce;
        }
        assembly ("memory-safe") {
            mstore(requests, n)
        }
        c.requested = uint24(position);
        _spendLink(page.feeder, f, n * requests[0].payment);
    }

    /// @notice A page's request once more, to the next operator, when the one before had its time.
    /// @return request what to send
    /// @return free whether the feeder has paid; the caller pays otherwise
    function again(
        MarketState storage s,
        bytes32 feeder,
        uint64 lot,
        Stage stage,
        uint16 first,
        uint256 nonce
    ) external returns (Request memory request, bool free) {
        Feeder storage f = _known(s, feeder);
        Page memory page;
        (page.feeder, page.number, page.lot) = (feeder, f.number, lot);
        (page.behind, page.nonce) = (f.silent != 0, nonce);
        (page.stage, page.first) = (stage, first);
        Clearing storage c = s.clearings[(page.number << 40) | lot];
        if (lot > type(uint40).max || c.lots == 0) revert IMarketErrors.UnknownClearing(feeder, lot);
        bytes memory charter = _charter(s, page.number, c.charter);
        _checkPage(s, page, c, charter);
        uint256 times = _countRepeat(s, page, c, charter);
        if (f.operators == address(0)) revert IMarketErrors.NoOperator(feeder);
        bytes memory seats = CodeStore.read(f.operators);
        (request.operator, request.specId, request.payment) = _seatAt(seats, times % (seats.length / _SEAT_BYTES));
        free = times <= charter.terms().freeRepeats;
        if (free) _spendLink(feeder, f, request.payment);
        _fill(s, request, page, c, charter);
    }

    // ------------------------------------------------------------------------------------------ views

    function nextOpening(
        MarketState storage s,
        uint256 lotSeconds,
        bytes32 feeder
    ) public view returns (uint64 lot, uint64 notBefore) {
        Feeder storage f = _known(s, feeder);
        if (f.charters == 0) revert IMarketErrors.NotChartered(feeder);
        uint256 opened = f.openedLot;
        (, bytes memory charter, uint256 last) = _nextCharter(s, f, opened);
        uint256 end = opened + charter.lotsPerClearing();
        if (end > last) end = last;
        return (uint64(end), uint64((end + 1) * lotSeconds + charter.openDelay()));
    }

    function lotsPerClearing(MarketState storage s, bytes32 feeder) external view returns (uint32) {
        Feeder storage f = _known(s, feeder);
        if (f.charters == 0) revert IMarketErrors.NotChartered(feeder);
        (, bytes memory charter, ) = _nextCharter(s, f, f.openedLot);
        return uint32(charter.lotsPerClearing());
    }

    /// @notice What an upkeep would do: go on with an opening, or open the next lots.
    function upkeep(
        MarketState storage s,
        uint256 lotSeconds,
        bytes32 feeder
    ) external view returns (bool needed, uint64 lot) {
        Feeder storage f = s.feeders[feeder];
        if (f.number == 0 || f.charters == 0 || f.paused) return (false, 0);
        lot = f.openedLot;
        if (_unrequested(s, f, s.clearings[(uint256(f.number) << 40) | lot])) return (true, lot);
        (, bytes memory charter, ) = _nextCharter(s, f, lot);
        (uint32 distributor, ) = charter.distributor();
        uint64 notBefore;
        (lot, notBefore) = nextOpening(s, lotSeconds, feeder);
        return (distributor != 0 && block.timestamp >= notBefore, lot);
    }

    // ------------------------------------------------------------------------------------------ inside

    function _known(MarketState storage s, bytes32 feeder) private view returns (Feeder storage f) {
        f = s.feeders[feeder];
        if (f.number == 0) revert IMarketErrors.UnknownFeeder(feeder);
    }

    function _charter(MarketState storage s, uint256 number, uint256 index) private view returns (bytes memory) {
        return CodeStore.read(s.charters[(number << 16) | index].code);
    }

    /// @dev The charter that the next opening is under, and the last lot that it holds for.
    function _nextCharter(
        MarketState storage s,
        Feeder storage f,
        uint256 opened
    ) private view returns (uint256 index, bytes memory charter, uint256 last) {
        uint256 base = uint256(f.number) << 16;
        uint256 count = f.charters;
        index = f.charter;
        if (index + 1 < count && s.charters[base | (index + 1)].fromLot == opened + 1) ++index;
        last = index + 1 < count ? s.charters[base | (index + 1)].fromLot - 1 : type(uint40).max;
        charter = CodeStore.read(s.charters[base | index].code);
    }

    function _checkOpening(
        bytes32 feeder,
        bytes memory charter,
        uint64 lot,
        uint256 lots,
        uint256 last,
        uint256 lotSeconds
    ) private view {
        (uint32 distributor, ) = charter.distributor();
        if (distributor == 0) revert IMarketErrors.FeederEnded(feeder, uint64(lot - lots + 1));
        if (lot > last) revert IMarketErrors.LotBeyondCharter(lot, uint64(last));
        if (lots > FeederCharters.MAX_LOTS) {
            revert IMarketErrors.TooManyLots(uint64(lots), uint64(FeederCharters.MAX_LOTS));
        }
        if (lots < charter.lotsPerClearing() && lot != last) {
            revert IMarketErrors.TooFewLots(uint64(lots), uint64(charter.lotsPerClearing()));
        }
        uint256 notBefore = (uint256(lot) + 1) * lotSeconds + charter.openDelay();
        if (block.timestamp < notBefore) revert IMarketErrors.LotNotOver(lot, uint64(notBefore));
    }

    function _unrequested(MarketState storage s, Feeder storage f, Clearing storage c) private view returns (bool) {
        if (c.lots == 0) return false;
        return c.requested < _members(_charter(s, f.number, c.charter));
    }

    /// @dev Who is asked, for how many lots; and what the answer will be for.
    function _fill(
        MarketState storage s,
        Request memory request,
        Page memory page,
        Clearing storage c,
        bytes memory charter
    ) private {
        uint32[] memory accounts;
        if (page.stage == Stage.Consumers) {
            request.stage = "consumers";
            (request.meterIds, accounts) = charter.consumersAt(page.first, page.count);
            page.behind = _someBehind(s, page.number, c);
        } else {
            request.meterIds = new bytes32[](page.count);
            accounts = new uint32[](page.count);
            if (page.stage == Stage.Distributor) {
                request.stage = "distributor";
                (accounts[0], request.meterIds[0]) = charter.distributor();
            } else {
                request.stage = "plant";
                for (uint256 i = 0; i < page.count; ++i) {
                    (request.meterIds[i], accounts[i], ) = charter.plantAt(page.first + i);
                }
            }
        }
        request.lots = page.behind ? _reach(s, page.lot, c.lots, accounts) : c.lots;
        request.purpose = Purpose.pack(page.number, page.lot, page.stage, page.first);
        emit IEnergyMarket.StageRequested(
            keccak256(abi.encodePacked(address(this), page.nonce)),
            page.feeder,
            uint64(page.lot),
            page.stage,
            uint16(page.first),
            uint16(page.count),
            request.operator
        );
    }

    /// @dev Whether consumers may be behind: not when all of the clearing before were done.
    function _someBehind(MarketState storage s, uint256 number, Clearing storage c) private view returns (bool) {
        Clearing storage before = s.clearings[(number << 40) | (uint256(c.firstLot) - 1)];
        return before.consumersDone != before.consumers;
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
            uint256 cursor = s.accounts[accounts[i]].word.cursor();
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

    /// @dev The page that begins at a position among all members: plants, distributor, consumers.
    function _pageAt(
        bytes memory charter,
        Page memory page,
        uint256 position,
        uint256 size
    ) private pure returns (uint256 count) {
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
    }

    /// @dev The page must be one that an opening asks for, asked for already, and not done.
    function _checkPage(
        MarketState storage s,
        Page memory page,
        Clearing storage c,
        bytes memory charter
    ) private view {
        uint256 plants = charter.plants();
        uint256 members =
            page.stage == Stage.Plant
                ? plants
                : page.stage == Stage.Distributor
                    ? 1
                    : charter.consumers();
        uint16 first = uint16(page.first);
        if (first >= members) revert IMarketErrors.PageOutOfRange(first, members);
        uint256 size = _pageSize(c.lots);
        if (first % size != 0) revert IMarketErrors.PageMisaligned(first, size);
        uint256 position =
            page.stage == Stage.Plant
                ? first
                : page.stage == Stage.Distributor
                    ? plants
                    : plants + 1 + first;
        if (position >= c.requested) {
            revert IMarketErrors.NotYetRequested(page.feeder, uint64(page.lot), page.stage, first);
        }
        page.count = members - first < size ? members - first : size;
        if (_isDone(s, page, c, charter)) {
            revert IMarketErrors.NothingToRequest(page.feeder, uint64(page.lot), page.stage, first);
        }
    }

    function _isDone(
        MarketState storage s,
        Page memory page,
        Clearing storage c,
        bytes memory charter
    ) private view returns (bool) {
        if (page.stage == Stage.Distributor) return c.stage > Progress.DISTRIBUTOR;
        if (page.stage == Stage.Plant) {
            if (c.stage != Progress.PLANTS) return true;
            uint256 bits = ((1 << page.count) - 1) << page.first;
            return c.prices & bits == bits;
        }
        if (c.consumersDone == c.consumers) return true;
        (, uint32[] memory accounts) = charter.consumersAt(page.first, page.count);
        for (uint256 i = 0; i < page.count; ++i) {
            if (s.accounts[accounts[i]].word.cursor() < page.lot) return false;
        }
        return true;
    }

    /// @dev Not before the request before it had its time. Returns how often this one was repeated, this time included.
    function _countRepeat(
        MarketState storage s,
        Page memory page,
        Clearing storage c,
        bytes memory charter
    ) private returns (uint256 times) {
        uint256 key = (page.number << 64) | (page.lot << 24) | (uint256(page.stage) << 16) | page.first;
        Repeat storage r = s.repeats[key];
        uint256 at = r.at == 0 ? c.openedAt : r.at;
        uint256 notBefore = at + charter.terms().repeatSeconds;
        if (block.timestamp < notBefore) {
            revert IMarketErrors.RepeatTooEarly(page.feeder, uint64(page.lot), notBefore);
        }
        times = r.times;
        if (times < type(uint8).max) ++times;
        r.times = uint8(times);
        r.at = uint40(block.timestamp);
    }

    function _spendLink(bytes32 feeder, Feeder storage f, uint256 payment) private {
        uint96 balance = f.link;
        if (balance < payment) revert IMarketErrors.LinkTooLow(feeder, balance, payment);
        f.link = balance - uint96(payment);
    }

    function _seatAt(
        bytes memory seats,
        uint256 index
    ) private pure returns (address operator, bytes32 specId, uint96 payment) {
        assembly ("memory-safe") {
            let at := add(add(seats, 32), mul(64, index))
            operator := shr(96, mload(at))
            specId := mload(add(at, 20))
            payment := shr(160, mload(add(at, 52)))
        }
    }
}
