// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Role, Stage} from "./IEnergyMarket.sol";

/// @title Why the market refuses a call; each names the value
interface IMarketErrors {
    /// @notice No feeder has this id.
    error UnknownFeeder(bytes32 feeder);
    /// @notice A feeder of this name is there.
    error FeederExists(bytes32 feeder);
    /// @notice A feeder needs a name.
    error EmptyName();
    /// @notice No clearing of this feeder ends with this lot.
    error UnknownClearing(bytes32 feeder, uint64 lot);
    /// @notice Nobody made this account.
    error UnknownAccount(uint32 account);
    /// @notice The registry does not know this meter.
    error UnknownMeter(bytes32 meterId);
    /// @notice Only the account's owner may.
    error NotOwner(uint32 account, address caller);
    /// @notice Only LINK may call this.
    error NotToken(address caller);
    /// @notice An address must be given; an operator must be a contract.
    error ZeroAddress();
    /// @notice Something must be given.
    error ZeroAmount();
    /// @notice This token belongs to another market.
    error WrongMarket(address contractAddress);
    /// @notice 0 plants, 1 distributor, 2 consumers.
    error UnknownStage(uint8 stage);
    /// @notice 0 plant, 1 distributor, 2 consumer.
    error UnknownRole(uint8 role);
    /// @notice Bytes given and expected.
    error BadData(uint256 length, uint256 expected);
    /// @notice A lot has 64 bits.
    error LotOutOfRange(uint256 lot);

    // openings
    /// @notice The regulator has paused this feeder's openings.
    error OpeningsArePaused(bytes32 feeder);
    /// @notice The feeder has no distributor from this lot on.
    error FeederEnded(bytes32 feeder, uint64 lot);
    /// @notice The feeder has no charter, or no distributor, yet.
    error NotChartered(bytes32 feeder);
    /// @notice This lot is opened and all of it is requested, or it is not a clearing's last.
    error NothingToOpen(bytes32 feeder, uint64 lot);
    /// @notice An opening takes at least so many lots.
    error TooFewLots(uint64 lots, uint64 least);
    /// @notice An opening takes at most so many lots.
    error TooManyLots(uint64 lots, uint64 most);
    /// @notice The charter that is in force ends with `last`.
    error LotBeyondCharter(uint64 lot, uint64 last);
    /// @notice Opened from this unix second on.
    error LotNotOver(uint64 lot, uint64 notBefore);
    /// @notice Both in 10^-18 LINK.
    error LinkTooLow(bytes32 feeder, uint256 balance, uint256 payment);
    /// @notice The feeder lists no operator.
    error NoOperator(bytes32 feeder);
    /// @notice The opening has not asked for this page yet.
    error NotYetRequested(bytes32 feeder, uint64 lot, Stage stage, uint16 first);
    /// @notice Repeated from this unix second on.
    error RepeatTooEarly(bytes32 feeder, uint64 lot, uint256 notBefore);
    /// @notice All of this page is done.
    error NothingToRequest(bytes32 feeder, uint64 lot, Stage stage, uint16 first);
    /// @notice A page begins at a multiple of the page size.
    error PageMisaligned(uint16 first, uint256 pageSize);
    /// @notice The stage has only so many members.
    error PageOutOfRange(uint16 first, uint256 members);
    /// @notice Not while LINK is being taken back.
    error TakingLinkBack();
    /// @notice Not while requests are being sent.
    error RequestsUnderWay();
    /// @notice Gas left, and what one request needs.
    error TooLittleGas(uint256 left, uint256 needed);

    // charters
    /// @notice Changes hold from `firstFree` on at the earliest.
    error LotBegun(uint64 lot, uint64 firstFree);
    /// @notice Changes are made in the order of their lots; the newest holds from `newest` on.
    error OutOfOrder(uint64 fromLot, uint64 newest);
    /// @notice Changes are announced at most to `latest`.
    error TooFarAhead(uint64 fromLot, uint64 latest);
    /// @notice A term, in its own unit, above its cap.
    error TermTooHigh(string term, uint256 value, uint256 most);
    /// @notice A term, in its own unit, below its least.
    error TermTooLow(string term, uint256 value, uint256 least);
    /// @notice More members than a feeder can have.
    error TooManyMembers(uint256 count, uint256 most);
    /// @notice The feeder was changed as often as its clearings can tell.
    error TooManyCharters(bytes32 feeder, uint256 most);
    /// @notice More operators than a feeder can list.
    error TooManyOperators(uint256 count, uint256 most);
    /// @notice Above what the account accepts, in wei per kWh; account 0: the lowest limit of all consumers.
    error PriceTooHigh(uint32 account, uint256 price, uint256 limit);
    /// @notice Below what the plant sells at, in wei per kWh.
    error PriceTooLow(uint32 account, uint256 price, uint256 limit);
    /// @notice The account's role is another.
    error WrongRole(uint32 account, Role role);
    /// @notice The account is in another feeder than this.
    error WrongFeeder(uint32 account, bytes32 feeder);
    /// @notice That account is listed with the meter.
    error MeterTaken(bytes32 meterId, uint32 account);
    /// @notice The account has left, and does not come back.
    error HasLeft(uint32 account);
    /// @notice The account is not listed.
    error NotListed(uint32 account);
    /// @notice The account is, or was, listed.
    error AlreadyListed(uint32 account);
    /// @notice The account's meter is being replaced from that lot on.
    error ReplacementPending(uint32 account, uint64 fromLot);

    // money
    /// @notice In wei.
    error BalanceTooLow(uint32 account, uint256 balance, uint256 amount);
    /// @notice In wei: `free` is what is above the reserve.
    error ReserveKept(uint32 account, uint256 free, uint256 amount);
    /// @notice More wei than an account can hold.
    error BalanceTooHigh(uint32 account);
    /// @notice The receiver refused the wei.
    error EtherNotTaken(address to, uint256 amount);
    /// @notice Unix second.
    error ConsentExpired(uint256 deadline);
    /// @notice A consent is taken once.
    error ConsentUsed(bytes32 digest);
    /// @notice Not signed by the owner.
    error BadConsent(address owner);

    // silence
    /// @notice From this unix second on.
    error TooEarly(uint64 lot, uint256 notBefore);
    /// @notice An earlier clearing is not done.
    error NotInTurn(bytes32 feeder, uint64 lot);
    /// @notice The clearing is elsewhere: 0 plants, 1 distributor, 2 consumers, 3 closed.
    error WrongStage(bytes32 feeder, uint64 lot, uint8 progress);
    /// @notice The meter's reading was taken.
    error AlreadyCleared(bytes32 feeder, bytes32 meterId, uint64 lot);
    /// @notice Units a lot.
    error EstimateAboveCapacity(bytes32 meterId, uint256 capacity);
    /// @notice Bytes given and expected: 6 a lot.
    error BadEstimate(uint256 length, uint256 expected);
}
