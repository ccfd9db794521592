{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['happened_date'],
    meta={'touched': [{
        'model': 'int_touched_pipeline_calls',
        'on': {'message_id': 'message_id', 'happened_date': 'happened_date'},
    }]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

with

calls as (

    {{ calls_of(['create_or_update_person', 'delete_person', 'suppress_person', 'unsuppress_person', 'merge_people']) }}

),

read as (

    select
        {{ call_columns() }},
        user_id,
        anonymous_id,
        previous_id,
        traits,
        case
            when action = 'create_or_update_person' then {{ json_name('traits', 'email') }}
            when action != 'merge_people' then {{ json_name('properties', 'email') }}
        end as email,
        {{ json_name('traits', 'objectId') }} as object_id,
        coalesce({{ json_name('traits', 'object_type_id') }}, {{ json_name('traits', 'objectTypeId') }}, '1')
            as object_type_id,
        coalesce({{ json_value('traits', 'created_at') }}, {{ json_value('traits', 'createdAt') }}) as created_at,
        {{ json_value('traits', 'relationshipAttributes') }} as relationship_attributes
    from calls

),

-- a userId wins over an address
identified as (

    select
        {{ call_columns() }},
        user_id,
        anonymous_id,
        previous_id,
        traits,
        email,
        object_id,
        object_type_id,
        created_at,
        relationship_attributes,
        case when user_id is not null then {{ identifier_type('user_id') }} when email is not null then 'email' end
            as person_id_type,
        coalesce(user_id, email) as person_id,
        coalesce({{ person_identifier('user_id') }}, {{ json_object([['email', json_text('email')]]) }}) as identifiers
    from read

),

parts as (

    select
        request_id,
        'attributes' as part,
        1 as precedence,
        traits as json_text
    from identified
    where action = 'create_or_update_person'

    union all

    select
        request_id,
        'attributes' as part,
        2 as precedence,
        {{ json_object([
            ['anonymous_id', json_text('anonymous_id')],
            ['created_at', 'created_at'],
        ] + ([['email_sha256', json_text(sha256_of('lower(' ~ without_spaces('email') ~ ')'))]] if is_metarouter() else []))
        }} as json_text
    from identified
    where action = 'create_or_update_person'

    union all

    select
        request_id,
        'relationship' as part,
        1 as precedence,
        relationship_attributes as json_text
    from identified
    where
        action = 'create_or_update_person'
        and object_id is not null
        and left(relationship_attributes, 1) = '{'

),

{{ attributes_of('parts', ignored={
    'attributes': ['created_at', 'createdAt', 'object_type_id', 'objectTypeId', 'relationshipAttributes'],
}) }},

{{ requests_with_attributes(
    json_object([
        ['type', "'\"person\"'"],
        ['action', "case action"
            ~ " when 'create_or_update_person' then '\"identify\"' when 'delete_person' then '\"delete\"'"
            ~ " when 'suppress_person' then '\"suppress\"' when 'unsuppress_person' then '\"unsuppress\"'"
            ~ " else '\"merge\"' end"],
        ['identifiers', "case when action != 'merge_people' and person_id is not null then identifiers end"],
        ['primary', "case when action = 'merge_people' then " ~ person_identifier('user_id') ~ ' end'],
        ['secondary', "case when action = 'merge_people' then " ~ person_identifier('previous_id') ~ ' end'],
        ['attributes', "case when action = 'create_or_update_person' then coalesce(own.members, '{}') end"],
        ['cio_relationships', "case when action = 'create_or_update_person' and object_id is not null then "
            ~ relationship_to(object_identifiers('object_type_id', 'object_id')) ~ ' end'],
        ['timestamp', "case when action = 'create_or_update_person' then " ~ unix_text('happened_ms') ~ ' end'],
    ]),
    columns=['user_id', 'anonymous_id', 'previous_id', 'object_id'],
    conditions=[
        ['anonymous_identify', "action = 'create_or_update_person' and person_id is null and anonymous_id is not null"],
        ['no_identifier', 'person_id is null'],
        ['no_identifier', "action = 'merge_people' and previous_id is null"],
        [
            'merged_with_itself',
            "action = 'merge_people' and " ~ person_of_request('person_id_type', 'person_id')
                ~ ' = ' ~ person_of_request(identifier_type('previous_id'), 'previous_id'),
        ],
    ],
    ids=['person_id', 'previous_id', 'object_id'],
) }}

select * from final
