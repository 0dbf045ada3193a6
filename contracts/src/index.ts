export { type AddressBook, readAddressBook, writeAddressBook } from "./deployment/address-book.ts";
export { type DeployOptions, deploy } from "./deployment/deploy.ts";
export { leavesDistributorWithoutProfit, marginWarning } from "./deployment/margin.ts";
