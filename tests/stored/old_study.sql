BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v2.6.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'search');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MINIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'model.latent_dim',15.0,'{"name": "IntUniformDistribution", "attributes": {"low": 2, "high": 32, "step": 1}}');
INSERT INTO "trial_params" VALUES(2,1,'optimizer.lr',8.57688081711476782605e-04,'{"name": "LogUniformDistribution", "attributes": {"low": 0.0001, "high": 0.01}}');
INSERT INTO "trial_params" VALUES(3,2,'model.latent_dim',16.0,'{"name": "IntUniformDistribution", "attributes": {"low": 2, "high": 32, "step": 1}}');
INSERT INTO "trial_params" VALUES(4,2,'optimizer.lr',1.35780763862758955054e-03,'{"name": "LogUniformDistribution", "attributes": {"low": 0.0001, "high": 0.01}}');
INSERT INTO "trial_params" VALUES(5,3,'model.latent_dim',25.0,'{"name": "IntUniformDistribution", "attributes": {"low": 2, "high": 32, "step": 1}}');
INSERT INTO "trial_params" VALUES(6,3,'optimizer.lr',1.18178149285652405939e-03,'{"name": "LogUniformDistribution", "attributes": {"low": 0.0001, "high": 0.01}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'experiment','"search"');
INSERT INTO "trial_user_attributes" VALUES(2,1,'data','"mnist_5k"');
INSERT INTO "trial_user_attributes" VALUES(3,1,'trainer','"cpu"');
INSERT INTO "trial_user_attributes" VALUES(4,1,'sweep.name','"search"');
INSERT INTO "trial_user_attributes" VALUES(5,1,'trainer.max_epochs','"1"');
INSERT INTO "trial_user_attributes" VALUES(6,1,'data.val_size','"3000"');
INSERT INTO "trial_user_attributes" VALUES(7,1,'model.widths','"[8]"');
INSERT INTO "trial_user_attributes" VALUES(8,1,'callbacks.figures','"null"');
INSERT INTO "trial_user_attributes" VALUES(9,1,'callbacks.probe','"null"');
INSERT INTO "trial_user_attributes" VALUES(10,1,'sweep.axes','"[model.latent_dim,optimizer.lr]"');
INSERT INTO "trial_user_attributes" VALUES(11,2,'experiment','"search"');
INSERT INTO "trial_user_attributes" VALUES(12,2,'data','"mnist_5k"');
INSERT INTO "trial_user_attributes" VALUES(13,2,'trainer','"cpu"');
INSERT INTO "trial_user_attributes" VALUES(14,2,'sweep.name','"search"');
INSERT INTO "trial_user_attributes" VALUES(15,2,'trainer.max_epochs','"1"');
INSERT INTO "trial_user_attributes" VALUES(16,2,'data.val_size','"3000"');
INSERT INTO "trial_user_attributes" VALUES(17,2,'model.widths','"[8]"');
INSERT INTO "trial_user_attributes" VALUES(18,2,'callbacks.figures','"null"');
INSERT INTO "trial_user_attributes" VALUES(19,2,'callbacks.probe','"null"');
INSERT INTO "trial_user_attributes" VALUES(20,2,'sweep.axes','"[model.latent_dim,optimizer.lr]"');
INSERT INTO "trial_user_attributes" VALUES(21,3,'experiment','"search"');
INSERT INTO "trial_user_attributes" VALUES(22,3,'data','"mnist_5k"');
INSERT INTO "trial_user_attributes" VALUES(23,3,'trainer','"cpu"');
INSERT INTO "trial_user_attributes" VALUES(24,3,'sweep.name','"search"');
INSERT INTO "trial_user_attributes" VALUES(25,3,'trainer.max_epochs','"1"');
INSERT INTO "trial_user_attributes" VALUES(26,3,'data.val_size','"3000"');
INSERT INTO "trial_user_attributes" VALUES(27,3,'model.widths','"[8]"');
INSERT INTO "trial_user_attributes" VALUES(28,3,'callbacks.figures','"null"');
INSERT INTO "trial_user_attributes" VALUES(29,3,'callbacks.probe','"null"');
INSERT INTO "trial_user_attributes" VALUES(30,3,'sweep.axes','"[model.latent_dim,optimizer.lr]"');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,5.41150871358235690438e+02);
INSERT INTO "trial_values" VALUES(2,2,0,5.34985340535481782367e+02);
INSERT INTO "trial_values" VALUES(3,3,0,5.39321090108235694053e+02);
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-26 19:23:23.735691','2026-11-26 19:23:27.931182');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-26 19:23:27.938495','2026-11-26 19:23:28.434023');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-26 19:23:28.439149','2026-11-26 19:23:28.947098');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'2.10.1');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
COMMIT;